"""Properties of every registered block over random settings and signals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hitchain import blocks
from hitchain.blocks.block import Block, Instrument, LinearBlock, NoteBlock
from hitchain.blocks.certificate import SAMPLE_RATE, example
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import SEED, Choice

NAMES = blocks.names()
AUDIO = [name for name in NAMES if not issubclass(blocks.get(name), Instrument | NoteBlock)]
LINEAR = [name for name in NAMES if issubclass(blocks.get(name), LinearBlock)]
INSTRUMENTS = [name for name in NAMES if issubclass(blocks.get(name), Instrument)]
PLAYED = [name for name in NAMES if issubclass(blocks.get(name), Instrument | NoteBlock)]

SIGNALS = ("silence", "constant", "impulse", "noise", "sine", "quiet", "one sample")
SAMPLES = 3000  # a length that is no power of two
LOUDER_BY = 60.0  # dB: every knob may be at its top at once; 40 dB where none is
DRUMS = (36.0, 38.0, 39.0, 42.0, 46.0, 45.0, 49.0, 51.0)


@dataclass(frozen=True)
class Case:
    """Random settings and a signal, all drawn from one seed, so that a failing example is one number."""

    seed: int
    signal: str = "noise"
    channels: int = 2

    def settings(
        self, block: Block, batch: int, dtype: torch.dtype = torch.float32, at: str = "random"
    ) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        settings = {SEED: torch.tensor(self.seed)}
        for parameter in block.parameters:
            if isinstance(parameter, Choice):
                drawn = torch.rand(batch, len(parameter.options), generator=generator, dtype=torch.float64) ** 4
                value = drawn / drawn.sum(dim=1, keepdim=True)
            else:
                drawn = torch.rand(batch, generator=generator, dtype=torch.float64)
                ends = torch.rand(batch, generator=generator)  # one in five stands at an end of its range
                drawn = torch.where(ends < 0.1, torch.zeros(()), torch.where(ends > 0.9, torch.ones(()), drawn))
                value = parameter.from_unit(drawn).clamp(parameter.low, parameter.high)
            settings[parameter.name] = value.to(dtype)
        return {**settings, **block.defaults(batch, dtype)} if at == "default" else settings

    def audio(self, batch: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        samples = 1 if self.signal == "one sample" else SAMPLES
        time = torch.arange(samples, dtype=torch.float64) / SAMPLE_RATE
        shape = (batch, self.channels, samples)
        noise = torch.rand(shape, generator=generator, dtype=torch.float64) * 2.0 - 1.0
        impulse = torch.zeros(shape, dtype=torch.float64)
        impulse[..., samples // 3] = 1.0
        return {
            "silence": torch.zeros(shape, dtype=torch.float64),
            "constant": torch.full(shape, 0.7, dtype=torch.float64),
            "impulse": impulse,
            "noise": noise,
            "sine": torch.sin(2 * math.pi * 440.0 * time).expand(shape),
            "quiet": noise * 1e-5,
            "one sample": noise,
        }[self.signal].to(dtype)

    def notes(self, block: Block, batch: int = 1, dtype: torch.dtype = torch.float32) -> Notes:
        generator = torch.Generator().manual_seed(self.seed)
        seconds, count = 0.15, 5

        def drawn(low: float, high: float) -> list[float]:
            return (torch.rand(count, generator=generator, dtype=torch.float64) * (high - low) + low).tolist()

        drums = plays_drums(block)
        chosen = torch.randint(len(DRUMS), (count,), generator=generator).tolist()
        pitches = [DRUMS[index] for index in chosen] if drums else drawn(0.0, 127.0)
        notes = Notes.of(
            drawn(-0.02, seconds), drawn(0.001, 0.1), pitches, drawn(0.05, 1.0), seconds, dtype=torch.float64
        )
        return notes.expand(batch).to(dtype=dtype)


def plays_drums(block: Block) -> bool:
    return bool(getattr(block, "plays_drums", block.name == "instruments/drums"))


CASES = st.builds(Case, seed=st.integers(0, 10_000), signal=st.sampled_from(SIGNALS), channels=st.sampled_from([1, 2]))
NOISES = st.builds(Case, seed=st.integers(0, 10_000), signal=st.sampled_from(["noise", "sine"]))


def peak(audio: Tensor) -> float:
    return float(audio.abs().max()) if audio.numel() else 0.0


def level(audio: Tensor) -> float:
    """RMS in dB."""
    return 20.0 * math.log10(max(float(audio.double().square().mean().sqrt()), 1e-30))


def apart(one: Tensor, other: Tensor, least: float = -60.0) -> float:
    """The level of the difference [dB] against that of the first, or against `least` where the first is fainter."""
    return level(one.double() - other.double()) - max(level(one), least)


@pytest.mark.parametrize("name", AUDIO)
class TestAudio:
    @given(case=CASES)
    def test_output_is_finite_shaped_and_of_sane_level(self, name: str, case: Case) -> None:
        block = example(name)
        audio = case.audio(batch=2)
        output = block(audio, case.settings(block, batch=2))
        assert output.dtype == audio.dtype
        assert output.shape[0] == 2
        assert output.shape[2] == audio.shape[2]
        assert output.shape[1] in (case.channels, 2)
        assert torch.isfinite(output).all()
        assert peak(output) <= max(peak(audio), 1e-3) * 10 ** (LOUDER_BY / 20)

    @given(case=CASES)
    def test_default_settings_keep_a_sane_level(self, name: str, case: Case) -> None:
        block = example(name)
        audio = case.audio()
        output = block(audio, block.defaults())
        assert torch.isfinite(output).all()
        assert peak(output) <= max(peak(audio), 1e-2) * 10 ** (40.0 / 20)

    @given(case=CASES)
    def test_silence_stays_silence(self, name: str, case: Case) -> None:
        block = example(name)
        silence = torch.zeros(1, case.channels, SAMPLES)
        assert peak(block(silence, case.settings(block, batch=1))) < 1e-5  # -100 dB: an amp's bias may settle

    @given(case=NOISES)
    def test_gradients_are_finite_on_every_signal(self, name: str, case: Case) -> None:
        block = example(name)
        for signal in SIGNALS:
            audio = Case(case.seed, signal).audio().requires_grad_()
            settings = case.settings(block, batch=1)
            knobs = [settings[parameter.name].requires_grad_() for parameter in block.parameters]
            output = block(audio, settings)
            gradients = torch.autograd.grad(output.square().sum() + output.sum(), [audio, *knobs], allow_unused=True)
            for key, gradient in zip(["audio", *(p.name for p in block.parameters)], gradients, strict=True):
                assert gradient is None or torch.isfinite(gradient).all(), f"{key} on {signal}"

    @given(case=NOISES)
    def test_mono_and_stereo_of_the_same_agree(self, name: str, case: Case) -> None:
        """A mono track is the same as a stereo one with equal channels."""
        block = example(name)
        if any(getattr(parameter, "unit", "") == "LUFS" for parameter in block.parameters):
            pytest.skip("BS.1770 sums the power of channels: two are 3 LU louder than one")
        mono = Case(case.seed, case.signal, channels=1).audio(dtype=torch.float64)
        settings = case.settings(block, 1, torch.float64)
        from_mono = block(mono, settings)
        from_stereo = block(mono.expand(1, 2, -1), settings)
        assert apart(from_stereo, from_mono.expand_as(from_stereo)) < -60.0


@pytest.mark.parametrize("name", NAMES)
class TestEveryBlock:
    def source(self, block: Block, case: Case, batch: int, dtype: torch.dtype = torch.float32) -> Tensor | Notes:
        played = isinstance(block, Instrument | NoteBlock)
        return case.notes(block, batch, dtype) if played else case.audio(batch, dtype)

    @given(case=CASES)
    def test_same_input_gives_the_same_output_to_the_bit(self, name: str, case: Case) -> None:
        block = example(name)
        settings = case.settings(block, batch=2)
        source = self.source(block, case, batch=2)
        torch.manual_seed(1)
        first = values(block(source, settings))
        torch.manual_seed(2)  # noise may come from the patch's seed only
        assert torch.equal(first, values(block(source, settings)))
        assert torch.equal(first, values(example(name)(source, settings)))

    @given(case=NOISES)
    def test_batch_items_do_not_touch_each_other(self, name: str, case: Case) -> None:
        block = example(name).double()
        settings = case.settings(block, 2, torch.float64)
        source = self.source(block, case, 2, torch.float64)
        before = values(block(source, settings))[0]
        after = values(block(with_other_second(source), settings))[0]
        assert float((before - after).abs().max()) <= 1e-6 * max(peak(before), 1e-3)
        alone = values(block(first_of(source), {k: v[:1] if v.ndim else v for k, v in settings.items()}))[0]
        # alone, a linear block may choose a shorter transform: what wraps around is below -90 dB of the peak
        assert float((before - alone).abs().max()) <= 1e-4 * max(peak(before), 1e-3)

    @given(case=NOISES)
    def test_single_and_double_precision_agree(self, name: str, case: Case) -> None:
        single, double = example(name), example(name).double()
        low = values(single(self.source(single, case, 1), case.settings(single, 1)))
        high_settings = {k: v.double() if v.is_floating_point() else v for k, v in case.settings(single, 1).items()}
        high_source = self.source(single, case, 1)
        high_source = high_source.double() if isinstance(high_source, Tensor) else high_source.to(dtype=torch.float64)
        high = values(double(high_source, high_settings))
        assert high.dtype == torch.float64
        assert apart(high, low) < -60.0

    @given(case=NOISES)
    def test_inputs_are_left_as_they_were(self, name: str, case: Case) -> None:
        block = example(name)
        settings = case.settings(block, batch=1)
        source = self.source(block, case, batch=1)
        kept = {key: value.clone() for key, value in settings.items()}, values(source).clone()
        block(source, settings)
        assert torch.equal(values(source), kept[1])
        assert all(torch.equal(settings[key], value) for key, value in kept[0].items())


@pytest.mark.parametrize("name", LINEAR)
class TestLinearBlocks:
    @given(case=NOISES)
    def test_forward_is_the_product_with_the_response(self, name: str, case: Case) -> None:
        """Against a direct transform long enough that nothing wraps."""
        block = example(name).double()
        settings = case.settings(block, 1, torch.float64)
        audio = case.audio(dtype=torch.float64)
        n_fft = 2 ** math.ceil(math.log2(2 * (SAMPLES + block.tail(settings) * SAMPLE_RATE)))
        response = block.response(settings, n_fft)
        assert response.is_complex()
        assert response.shape[-1] in (1, n_fft // 2 + 1)
        assert response.shape[1] in (1, 2)
        expected = torch.fft.irfft(torch.fft.rfft(audio, n=n_fft) * response, n=n_fft)[..., :SAMPLES]
        assert apart(expected, block(audio, settings)) < -80.0

    @given(case=NOISES)
    def test_is_linear(self, name: str, case: Case) -> None:
        block = example(name).double()
        settings = case.settings(block, 1, torch.float64)
        one, other = case.audio(dtype=torch.float64), Case(case.seed + 1).audio(dtype=torch.float64)
        together = block(2.0 * one - 3.0 * other, settings)
        assert apart(together, 2.0 * block(one, settings) - 3.0 * block(other, settings)) < -180.0

    @given(case=NOISES)
    def test_does_not_change_with_time(self, name: str, case: Case) -> None:
        block = example(name).double()
        settings = case.settings(block, 1, torch.float64)
        audio, late = case.audio(dtype=torch.float64), 500
        shifted = torch.nn.functional.pad(audio, (late, 0))[..., :SAMPLES]
        known = SAMPLES - late - getattr(block, "early", 0)  # what sounds before its time hears what is cut off
        expected = block(audio, settings)[..., :known]
        # what wraps around is faint against the input, not always against an output that has not begun to sound
        assert apart(expected, block(shifted, settings)[..., late : late + known], least=level(audio)) < -70.0

    @given(case=NOISES)
    def test_rings_no_longer_than_its_tail(self, name: str, case: Case) -> None:
        """What a response's ringing wraps around to the start stays below -80 dB of its peak."""
        block = example(name).double()
        settings = case.settings(block, 1, torch.float64)
        tail = round(block.tail(settings) * SAMPLE_RATE) + 1
        n_fft = 2 ** math.ceil(math.log2(4 * tail + 4 * SAMPLES))
        response = block.response(settings, n_fft)
        kernel = torch.fft.irfft(response.expand(*response.shape[:2], n_fft // 2 + 1), n=n_fft)
        assert float(kernel[..., tail + SAMPLES : -SAMPLES].abs().max()) <= 1e-4 * max(peak(kernel), 1e-9)


@pytest.mark.parametrize("name", INSTRUMENTS)
class TestInstruments:
    @given(case=NOISES)
    def test_output_is_finite_shaped_and_of_sane_level(self, name: str, case: Case) -> None:
        block = example(name)
        notes = case.notes(block, batch=2)
        output = block(notes, case.settings(block, batch=2))
        assert output.shape[0] == 2
        assert output.shape[1] in (1, 2)
        assert output.shape[2] == round(notes.length * SAMPLE_RATE)
        assert torch.isfinite(output).all()
        assert peak(output) < notes.count * 4.0  # each note about full scale

    def test_defaults_are_heard_and_do_not_clip_a_single_note(self, name: str) -> None:
        block = example(name)
        note = Notes.of([0.0], [0.4], [38.0 if plays_drums(block) else 57.0], [0.8])
        output = block(note, {**block.defaults(), SEED: torch.tensor(0)})
        assert 0.02 < peak(output) <= 1.0

    @given(case=NOISES)
    def test_no_notes_give_silence(self, name: str, case: Case) -> None:
        block = example(name)
        notes = case.notes(block)
        masked = notes.with_(mask=torch.zeros_like(notes.mask))
        nothing = Notes.of([], [], [], length=0.1)
        settings = case.settings(block, batch=1)
        assert peak(block(masked, settings)) == 0.0
        silence = block(nothing, settings)
        assert silence.shape[-1] == round(0.1 * SAMPLE_RATE)
        assert peak(silence) == 0.0

    @given(case=NOISES)
    def test_a_window_of_a_song_is_that_stretch_of_the_whole(self, name: str, case: Case) -> None:
        """An onset before the window's start changes nothing but the time from which one listens.

        Compared after 0.2 s, which the chain renders before a window: a filter in a voice must settle.
        """
        block = example(name).double()
        settings = block.defaults(1, torch.float64)
        rate = block.sample_rate
        late, settled, length = 0.05, round(0.2 * rate), 0.6
        notes = case.notes(block, dtype=torch.float64)
        notes = notes.with_(onset=notes.onset.abs(), duration=notes.duration + 0.4, length=length)
        whole = block(notes, settings)[..., round(late * rate) :]
        window = block(notes.window(late, length - late, block.tail(settings) + 1.0), settings)
        assert whole.shape == window.shape
        assert apart(whole[..., settled:], window[..., settled:]) < -60.0

    @given(case=NOISES)
    def test_gradients_are_finite(self, name: str, case: Case) -> None:
        block = example(name)
        settings = case.settings(block, batch=1)
        knobs = [settings[parameter.name].requires_grad_() for parameter in block.parameters]
        notes = case.notes(block)
        velocity = notes.velocity.clone().requires_grad_()
        output = block(notes.with_(velocity=velocity), settings)
        for gradient in torch.autograd.grad(output.square().sum(), [velocity, *knobs], allow_unused=True):
            assert gradient is None or torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", [name for name in PLAYED if name not in INSTRUMENTS])
class TestNoteBlocks:
    @given(case=NOISES)
    def test_notes_stay_notes(self, name: str, case: Case) -> None:
        block = example(name)
        notes = case.notes(block, batch=2)
        changed = block(notes, case.settings(block, batch=2))
        for key, value in changed.tensors().items():
            assert torch.isfinite(value).all(), key
            assert value.shape[0] == 2
        assert changed.length == notes.length
        assert (changed.duration > 0).all()
        assert ((changed.velocity >= 0) & (changed.velocity <= 1)).all()
        assert ((changed.mask >= 0) & (changed.mask <= 1)).all()
        assert torch.isfinite(changed.pitch).all()


def values(output: Tensor | Notes) -> Tensor:
    """Audio, or the tensors of notes, as one tensor with the batch first."""
    if isinstance(output, Tensor):
        return output
    return torch.cat([output.onset, output.duration, output.pitch, output.velocity, output.mask], dim=1)


def with_other_second(source: Tensor | Notes) -> Tensor | Notes:
    """The same batch with another second item."""
    if isinstance(source, Tensor):
        return torch.cat([source[:1], 0.3 * source[1:].flip(-1) + 0.1])
    other = {
        "onset": torch.cat([source.onset[:1], source.onset[1:] + 0.01]),
        "velocity": torch.cat([source.velocity[:1], source.velocity[1:] * 0.5]),
    }
    return source.with_(**other)


def first_of(source: Tensor | Notes) -> Tensor | Notes:
    """The first item of a batch, alone."""
    if isinstance(source, Tensor):
        return source[:1]
    return source.with_(**{key: value[:1] for key, value in source.tensors().items()})
