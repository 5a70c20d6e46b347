"use strict";
(() => {
  const song = document.getElementById("song");
  const figure = document.querySelector("figure.chart");
  const cursors = [...document.querySelectorAll(".cursor")];
  let end = Infinity; // where a moment that was asked for ends

  const show = () => {
    for (const cursor of cursors) {
      const { left, right, seconds } = cursor.dataset;
      const x = Number(left) + (Math.min(song.currentTime, seconds) / seconds) * (right - left);
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
    }
    if (figure) figure.classList.toggle("begun", song.currentTime > 0 || !song.paused);
  };
  const follow = () => {
    show();
    if (song.currentTime >= end) song.pause();
    if (!song.paused) requestAnimationFrame(follow);
  };
  const play = (from, to) => {
    song.currentTime = from;
    end = to;
    song.play().catch(show); // a browser may refuse; the place is shown all the same
  };
  song.addEventListener("play", follow);
  song.addEventListener("seeked", show);
  song.addEventListener("pause", () => { end = Infinity; });
  for (const button of document.querySelectorAll("button[data-start]")) {
    button.addEventListener("click", () => play(Number(button.dataset.start), Number(button.dataset.end)));
  }
  for (const cursor of cursors) {
    const drawing = cursor.ownerSVGElement;
    drawing.addEventListener("click", (event) => {
      const box = drawing.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * drawing.viewBox.baseVal.width;
      const { left, right, seconds } = cursor.dataset;
      play(Math.min(Math.max((x - left) / (right - left), 0), 1) * seconds, Infinity);
    });
  }
  document.documentElement.dataset.ready = "true";
})();
