"""The report of a run: read back as text, and opened in a real browser."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from browser import Browser, needs_browser
from synthetic_run import STAGES, make_run

from hitchain.chain.report import sound, write_history_picture, write_report
from hitchain.chain.report.page import KNOBS_SHOWN
from hitchain.drawing import axes, pictures
from hitchain.errors import UserError
from hitchain.files import write_wav


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("runs") / "first", seconds=2.0)
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    return Browser(tmp_path_factory.mktemp("browser"))


@needs_browser
class TestInABrowser:
    def test_it_opens_without_errors_or_requests(self, run: Path, browser: Browser, tmp_path: Path) -> None:
        dom = browser.dom(run / "report.html")  # fails on anything written to the console
        assert 'data-ready="true"' in dom
        assert not browser.requested_hosts()
        asking = tmp_path / "asking.html"
        asking.write_text('<img src="http://picture.example/a.png"><p>')
        browser.open(asking, "--dump-dom")
        assert browser.requested_hosts() == {"picture.example"}  # so that a request would have been seen

    def test_every_sound_can_be_played(self, run: Path, browser: Browser) -> None:
        found = browser.after(
            run / "report.html", "return {durations: [...document.querySelectorAll('audio')].map(a => a.duration)};"
        )
        durations = found["durations"]
        assert isinstance(durations, list)
        assert len(durations) == 2 * len(STAGES) + 3  # stages of two tracks, mix, before and after
        assert durations == pytest.approx([2.0] * len(durations), abs=0.06)  # whole MP3 frames

    def test_pictures_and_curve_are_drawn(self, run: Path, browser: Browser) -> None:
        found = browser.after(
            run / "report.html",
            """const box = (q) => { const b = document.querySelector(q).getBBox(); return [b.width, b.height]; };
            return {images: [...document.images].map(i => [i.naturalWidth, i.naturalHeight]),
                    best: box('path.best'), heldout: box('path.heldout'), rating: box('path.rating'),
                    wave: box('.pictures path'),
                    candidates: document.querySelectorAll('.curve path.candidate').length};""",
        )
        assert found["images"] == [[pictures.COLUMNS, pictures.BANDS]] * (2 * len(STAGES) + 3)
        assert found["candidates"] == 4
        for name in ("best", "heldout", "rating"):
            width, height = found[name]  # type: ignore[misc]
            assert width > 500
            assert height > 30
        assert found["wave"][0] > 390  # type: ignore[index]

    def test_switching_keeps_the_position_and_the_loudness(self, run: Path, browser: Browser) -> None:
        found = browser.after(
            run / "report.html",
            """const group = document.querySelector('.switch'), [before, after] = group.querySelectorAll('audio');
            const slider = group.querySelector('input[type=range]');
            slider.value = 1.25; slider.dispatchEvent(new Event('input'));
            const radio = group.querySelector('input[value=before]');
            radio.checked = true; radio.dispatchEvent(new Event('change', {bubbles: true}));
            return {times: [before.currentTime, after.currentTime], volumes: [before.volume, after.volume],
                    on: group.querySelector('.side.on').dataset.side,
                    shown: group.querySelector('.controls span').textContent};""",
        )
        assert found["times"] == pytest.approx([1.25, 1.25])
        assert found["on"] == "before"
        assert found["shown"] == "0:01 / 0:02"
        quiet, loud = found["volumes"]  # type: ignore[misc]
        assert quiet == pytest.approx(1.0)
        assert 20 * math.log10(loud) == pytest.approx(20 * math.log10(0.1 / 0.8), abs=0.05)  # the gains of the two

    def test_knobs_can_be_sorted_and_shown_in_full(self, run: Path, browser: Browser) -> None:
        found = browser.after(
            run / "report.html",
            """const table = document.querySelector('table'), body = table.tBodies[0];
            const heads = table.tHead.rows[0].cells;
            const shown = () => [...body.rows].filter(r => r.getClientRects().length).length;
            const column = (n) => [...body.rows].map(r => r.cells[n].textContent);
            const few = shown(), first = column(0)[0];
            document.querySelector('.more').click();
            const all = shown();
            heads[2].querySelector('button').click(); const falling = column(2);
            heads[2].querySelector('button').click(); const rising = column(2);
            return {few, all, first, falling: falling.slice(0, 3), rising: rising.slice(0, 3), last: rising.at(-1),
                    sort: heads[2].getAttribute('aria-sort')};""",
        )
        assert (found["few"], found["all"]) == (KNOBS_SHOWN, 31)
        assert found["first"] == "lead.effects.0.gain_0"
        assert found["falling"] == ["11 dB", "10.5 dB", "10 dB"]
        assert found["rising"] == ["-3.5 dB", "-3 dB", "-2.5 dB"]
        assert "script" in str(found["last"])  # a choice has no number to sort by and comes last
        assert found["sort"] == "ascending"

    def test_values_of_the_curve_show_by_pointer_and_key(self, run: Path, browser: Browser) -> None:
        found = browser.after(
            run / "report.html",
            """const figure = document.querySelector('.curve'), svg = figure.querySelector('svg');
            const b = svg.getBoundingClientRect();
            svg.dispatchEvent(new PointerEvent('pointermove', {clientX: b.right, clientY: b.top + 50}));
            const pointed = [...figure.querySelectorAll('.tip div')].map(d => d.textContent);
            figure.dispatchEvent(new KeyboardEvent('keydown', {key: 'Home'}));
            return {pointed, keyed: figure.querySelector('.tip div').textContent};""",
        )
        assert found["pointed"][0] == "step 40"  # type: ignore[index]
        assert found["pointed"][1] == f"{0.32 + 0.23 * (1 - math.exp(-3)):.3f} best candidate, on the same windows"  # type: ignore[index]
        assert found["keyed"] == "step 1"

    def test_a_bare_folder_opens_too(self, tmp_path: Path, browser: Browser) -> None:
        (tmp_path / "config.yaml").write_text("command: optimize\n")
        assert 'data-ready="true"' in browser.dom(write_report(tmp_path))


class Elements(HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_nothing_in_it_comes_from_elsewhere(page: str) -> None:
    for tag, attributes in Elements(page).found:
        for key in ("src", "href"):
            address = attributes.get(key) or "data:"
            assert address.startswith("data:") or (tag == "a" and re.fullmatch(r"[a-z]+\.[a-z]+", address))
    assert "://" not in re.sub(r"data:[^\"']+", "", page)


def test_what_a_run_says_cannot_become_markup(page: str) -> None:
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "A &lt;i&gt;song&lt;/i&gt; &amp; more" in page
    assert "# &lt;b&gt;not bold&lt;/b&gt;" in page


def test_outcome_environment_and_knobs_are_told(page: str) -> None:
    text = re.sub(r"<[^>]+>", "", page)
    for said in (
        "0.312 → 0.547",
        "+0.235",
        "0.298 → 0.441",
        "plateau",
        "seed 3",
        "1 min 13 s",
        "3.11.7",
        "-6 dB",
        "-3.5 dB",
    ):
        assert said in text
    assert page.count('<th scope="row">') == 31


def test_stages_stand_in_the_order_of_the_line(page: str) -> None:
    labels = [attributes["data-label"] for _, attributes in Elements(page).found if "data-label" in attributes]
    assert labels == [stage.partition("-")[2] for stage in STAGES] * 2 + ["mix"]


def test_sound_in_the_page_is_the_sound_of_the_run(run: Path, page: str) -> None:
    """The embedded master, decoded, against master.wav: the same level, and aligned to within an MP3 frame."""
    sources = [a["src"] for tag, a in Elements(page).found if tag == "audio"]
    encoded = base64.b64decode(str(sources[1]).partition(",")[2])
    heard, rate = soundfile.read(io.BytesIO(encoded), dtype="float32", always_2d=True)
    master, _ = soundfile.read(str(run / "master.wav"), dtype="float32", always_2d=True)
    assert rate == 44100
    one, other = (np.fft.rfft(sound_[:, 0], 2**18) for sound_ in (heard, master))
    correlation = np.fft.irfft(one * np.conj(other)) / np.sqrt(np.sum(heard[:, 0] ** 2) * np.sum(master[:, 0] ** 2))
    lag = int(correlation.argmax())
    assert correlation[lag] > 0.97  # 16 kHz and up, which MP3 leaves out, holds a part of the noise
    assert min(lag, 2**18 - lag) < 2 * 1152
    assert 10 * np.log10(np.sum(heard**2) / np.sum(master**2)) == pytest.approx(0.0, abs=1.0)


def test_a_render_has_no_curve_and_misses_none(tmp_path: Path) -> None:
    folder = make_run(tmp_path, seconds=1.2, tracks=("lead",))
    (folder / "history.jsonl").unlink()
    (folder / "before.wav").unlink()
    (folder / "result.json").write_text(json.dumps({"command": "render", "seed": 0, "seconds": 2.5, "song": "demo"}))
    page = write_report(folder).read_text(encoding="utf-8")
    assert "The climb" not in page
    assert "before.wav" not in page
    assert 'class="missing"' not in page
    assert "hitchain render · seed 0 · 2.5 s" in page


def test_missing_and_broken_pieces_are_said(tmp_path: Path) -> None:
    folder = make_run(tmp_path, seconds=1.0, tracks=("lead",), steps=5)
    (folder / "master.wav").write_bytes(b"not sound at all")
    (folder / "stems" / "lead" / "2-amp.wav").write_bytes(b"")
    (folder / "before.wav").unlink()
    (folder / "result.json").write_text('{"command": "optimize", "rating_after": NaN, "knobs": "none", ')
    with (folder / "history.jsonl").open("a") as history:
        history.write('{"step": 6, "rati')
    page = write_report(folder).read_text(encoding="utf-8")
    for said in ("result.json is not valid JSON", "1 line(s) of history.jsonl cannot be read", "There is no before.wav",
                 "as audio", "audio file is empty"):  # fmt: skip
        assert said in page
    assert page.count("<audio") == len(STAGES) - 1 + 1


def test_odd_values_do_not_stop_it(tmp_path: Path) -> None:
    knobs = [7, {}, {"path": None, "moved": "far", "before": math.nan}]
    odd = {"command": 3, "seed": None, "rating_before": "high", "rating_after": math.inf, "steps": [], "stopped": {}}
    odd |= {"knobs": knobs, "environment": [], "warnings": "none"}
    (tmp_path / "result.json").write_text(json.dumps(odd))
    rows = [
        {"step": 1, "rating": None},
        {"step": "two"},
        [],
        {"step": 3, "ratings": 4, "looked": 5, "heldout": math.nan},
    ]
    (tmp_path / "history.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "no stems" in page
    assert "holds no ratings" in page


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run folder not found"):
        write_report(tmp_path / "nowhere")
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(UserError, match="is not a run folder"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_short_silent_and_too_loud_sounds(tmp_path: Path) -> None:
    write_wav(tmp_path / "master.wav", torch.zeros(2, 44100), 44100)
    write_wav(tmp_path / "stems" / "a" / "0-one.wav", torch.full((1, 1), 0.5), 44100)
    write_wav(tmp_path / "stems" / "a" / "1-loud.wav", 4.0 * torch.sin(torch.arange(9000.0))[None], 44100)
    write_wav(tmp_path / "stems" / "a" / "2-slow.wav", torch.sin(torch.arange(9000.0))[None] / 2, 8000)
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert page.count("<audio") == 4
    assert "peak 12.0 dBFS" in page


@pytest.mark.parametrize(("count", "seconds"), [(26, 30.0), (26, 240.0), (60, 600.0), (1, 2.0)])
def test_sizes_stay_within_the_budget(count: int, seconds: float) -> None:
    rate, longest = sound.share([seconds] * count, sound.BUDGET)
    assert 40 <= rate <= 80
    held = count * min(seconds, longest or seconds)
    assert held * rate * 125 <= sound.BUDGET * 1.001
    assert longest is None or longest > 20


def test_ticks_are_round_and_inside() -> None:
    assert axes.ticks(0.29, 0.55, 5) == [0.3, 0.4, 0.5]
    assert axes.ticks(1, 200, 8) == [50, 100, 150, 200]
    assert axes.ticks(1, 1, 8) == [1]


def test_colours_are_those_of_magma() -> None:
    """Against matplotlib's own table; the polynomial fit is within 6 of 255, which no eye tells."""
    colormaps = pytest.importorskip("matplotlib", reason="matplotlib is not installed").colormaps
    reference = np.asarray(colormaps["magma"].colors) * 255.0
    assert np.abs(pictures.magma() - reference).max() < 6.0


def test_pictures_are_png_files_that_others_can_read() -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    levels = np.linspace(0.0, 1.0, 40).reshape(4, 10)
    read = np.asarray(image.open(io.BytesIO(pictures.png(levels))).convert("RGB"))
    assert read.shape == (4, 10, 3)
    assert np.array_equal(read[0, 0], pictures.magma()[0])
    assert np.array_equal(read[3, 9], pictures.magma()[255])


def test_a_sine_lights_its_mel_band() -> None:
    time = torch.arange(44100) / 44100
    levels = pictures.mel_levels(torch.sin(2 * math.pi * 440.0 * time)[None], 44100)
    assert levels.shape == (pictures.BANDS, 400)
    edges = np.linspace(mel(30.0), mel(16000.0), pictures.BANDS + 2)
    nearest = int(np.abs(edges[1:-1] - mel(440.0)).argmin())
    assert pictures.BANDS - 1 - int(levels[:, 200].argmax()) == pytest.approx(nearest, abs=1)


def mel(hertz: float) -> float:
    """The Slaney mel scale: linear under 1 kHz, logarithmic above."""
    return hertz * 3.0 / 200.0 if hertz < 1000.0 else 15.0 + 27.0 * math.log(hertz / 1000.0) / math.log(6.4)


def test_picture_for_a_readme(run: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    write_history_picture(run, tmp_path / "climb.png")
    drawn = np.asarray(image.open(tmp_path / "climb.png").convert("RGB")).astype(int)
    assert drawn.shape == (576, 1600, 3)
    accent = np.abs(drawn - [0x8A, 0x3B, 0x1E]).sum(axis=-1) < 20
    assert accent.sum() > 500  # the curve is there
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.yaml").touch()
    with pytest.raises(UserError, match=r"no history\.jsonl"):
        write_history_picture(tmp_path / "bare", tmp_path / "none.png")
