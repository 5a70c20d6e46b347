"use strict";
(() => {
  const PLAY = '<svg viewBox="0 0 10 10" aria-hidden="true"><path d="M2 0.5 9.5 5 2 9.5Z"/></svg>';
  const PAUSE = '<svg viewBox="0 0 10 10" aria-hidden="true"><path d="M1.5 0.5h2.5v9h-2.5zM6 0.5h2.5v9h-2.5z"/></svg>';
  const clock = (seconds) => {
    const whole = Math.max(0, Math.floor(seconds || 0));
    return Math.floor(whole / 60) + ":" + String(whole % 60).padStart(2, "0");
  };
  let sounding = null; // one player at a time

  // Controls for a group of sounds of which `current()` is heard.
  function transport(place, label, sounds, pictures, current) {
    const controls = document.createElement("div");
    controls.className = "controls";
    const button = document.createElement("button");
    button.type = "button";
    const slider = document.createElement("input");
    slider.type = "range";
    slider.min = 0;
    slider.step = 0.01;
    slider.value = 0;
    slider.setAttribute("aria-label", "Position in " + label);
    const time = document.createElement("span");
    controls.append(button, slider, time);
    place.append(controls);

    const length = () => (Number.isFinite(current().duration) ? current().duration : 0);
    const show = () => {
      const sound = current();
      const total = length();
      button.innerHTML = sound.paused ? PLAY : PAUSE;
      button.setAttribute("aria-label", (sound.paused ? "Play " : "Pause ") + label);
      slider.max = total || 1;
      slider.value = sound.currentTime;
      slider.setAttribute("aria-valuetext", clock(sound.currentTime) + " of " + clock(total));
      time.textContent = clock(sound.currentTime) + " / " + clock(total);
      for (const picture of pictures) {
        picture.classList.toggle("begun", sound.currentTime > 0 || !sound.paused);
        picture.querySelector(".head").style.left = (total ? (100 * sound.currentTime) / total : 0) + "%";
      }
    };
    const follow = () => {
      show();
      if (!current().paused) requestAnimationFrame(follow);
    };
    const seek = (seconds) => {
      for (const sound of sounds) sound.currentTime = Math.min(seconds, sound.duration || seconds);
      show();
    };
    const play = () => {
      if (sounding && sounding !== current()) sounding.pause();
      sounding = current();
      return sounding.play();
    };
    button.addEventListener("click", () => (current().paused ? play() : current().pause()));
    slider.addEventListener("input", () => seek(Number(slider.value)));
    for (const picture of pictures) {
      picture.addEventListener("click", (event) => {
        const box = picture.getBoundingClientRect();
        seek((length() * (event.clientX - box.left)) / box.width);
      });
    }
    for (const sound of sounds) {
      sound.controls = false;
      sound.hidden = true;
      if (sound.dataset.volume) sound.volume = Number(sound.dataset.volume);
      for (const name of ["loadedmetadata", "pause", "ended", "seeked"]) sound.addEventListener(name, show);
      sound.addEventListener("play", follow);
    }
    show();
    return { play, show };
  }

  for (const player of document.querySelectorAll(".player")) {
    const sound = player.querySelector("audio");
    if (sound) transport(player, player.dataset.label, [sound], [player.querySelector(".pictures")], () => sound);
  }

  for (const group of document.querySelectorAll(".switch")) {
    const sides = [...group.querySelectorAll(".side")];
    const sounds = sides.map((side) => side.querySelector("audio"));
    const chosen = () => sides.findIndex((side) => side.querySelector("input[type=radio]").checked);
    const current = () => sounds[chosen()];
    const pictures = sides.map((side) => side.querySelector(".pictures"));
    const player = transport(group.querySelector(".transport"), "before and after", sounds, pictures, current);
    const mark = () => sides.forEach((side, index) => side.classList.toggle("on", index === chosen()));
    group.addEventListener("change", (event) => {
      if (event.target.type !== "radio") return;
      mark();
      const other = sounds[1 - chosen()];
      const playing = !other.paused;
      current().currentTime = other.currentTime;
      if (playing) {
        player.play();
        other.pause();
      }
      player.show();
    });
    mark();
  }

  const figure = document.querySelector(".curve");
  if (figure) {
    const data = JSON.parse(document.getElementById("curve-data").textContent);
    const drawing = figure.querySelector("svg");
    const cross = figure.querySelector(".cross");
    const tip = figure.querySelector(".tip");
    let index = data.steps.length - 1;
    const show = () => {
      const x = data.x[index];
      cross.setAttribute("x1", x);
      cross.setAttribute("x2", x);
      tip.textContent = "";
      const lines = ["step " + data.steps[index]];
      for (const series of data.series) {
        let at = index; // a series that is measured now and then shows its last value
        while (at >= 0 && series.values[at] === null) at -= 1;
        if (at >= 0) lines.push(series.values[at].toFixed(3) + " " + series.label);
      }
      for (const line of lines) {
        const row = document.createElement("div");
        row.textContent = line;
        tip.append(row);
      }
      figure.classList.add("shown");
      const box = drawing.getBoundingClientRect();
      const left = drawing.offsetLeft || 12;
      const pixel = left + (x / data.width) * box.width;
      const flipped = pixel + tip.offsetWidth + 16 > box.width;
      tip.style.left = (flipped ? pixel - tip.offsetWidth - 10 : pixel + 10) + "px";
    };
    drawing.addEventListener("pointermove", (event) => {
      const box = drawing.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * data.width;
      index = data.x.reduce((best, value, at) => (Math.abs(value - x) < Math.abs(data.x[best] - x) ? at : best), 0);
      show();
    });
    drawing.addEventListener("pointerleave", () => figure.classList.remove("shown"));
    figure.addEventListener("blur", () => figure.classList.remove("shown"));
    figure.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
      if (move === undefined) return;
      event.preventDefault();
      index = Math.min(Math.max(index + move, 0), data.steps.length - 1);
      show();
    });
  }

  const table = document.querySelector("table");
  if (table) {
    const body = table.tBodies[0];
    const most = Number(table.dataset.shown);
    let all = body.rows.length <= most;
    const trim = () => [...body.rows].forEach((row, index) => (row.hidden = !all && index >= most));
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const first = column === 0 ? "ascending" : "descending";
        const last = column === 0 ? "descending" : "ascending";
        const order = head.getAttribute("aria-sort") === first ? last : first;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const value = (row) => row.cells[column].dataset.sort;
        const compare = (one, other) => {
          const [a, b] = [value(one), value(other)];
          if (a && b) return sign * (Number(a) - Number(b));
          if (a || b) return a ? -1 : 1; // what has no number comes last
          return sign * one.cells[column].textContent.localeCompare(other.cells[column].textContent);
        };
        body.append(...[...body.rows].sort(compare));
        trim();
      });
    });
    if (!all) {
      const more = document.createElement("button");
      more.type = "button";
      more.className = "more";
      more.textContent = "Show all " + body.rows.length + " knobs";
      more.addEventListener("click", () => {
        all = true;
        trim();
        more.remove();
      });
      table.parentElement.append(more);
    }
    trim();
  }

  document.documentElement.dataset.ready = "true";
})();
