"""Log-mel spectrograms, and speech back from them.

All speech here is at 16 kHz and at one level (`at_level`): the losses and floors are then the same
for every listener, and what a hearing loss does to the level alone is left out.
"""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchaudio.functional as audio
from speechbrain.lobes.models.HifiGAN import HifiganGenerator
from speechbrain.utils.checkpoints import hook_on_loading_state_dict_checkpoint
from torch import Tensor

from intelligibility.ears import ASR_RATE
from intelligibility.recognisers.speechbrain import load_safely
from intelligibility.runs import RecipeError

LEVEL = -26.0  # dB re full scale, of all speech that is analysed, written and played
PATCH = 15360  # samples, 0.96 s: what VGGish looks at, and the crops that inverters learn from
NNLS_STEPS = 15
SILENT = 1e-5  # root mean square below which there is no level to set

HIFIGAN_SOURCE = "speechbrain/tts-hifigan-libritts-16kHz"
PADDING = 5  # frames that it adds at either end
HIFIGAN = {
    "in_channels": 80,
    "out_channels": 1,
    "resblock_type": "1",
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "resblock_kernel_sizes": [3, 7, 11],
    "upsample_kernel_sizes": [16, 16, 4, 4],
    "upsample_initial_channel": 512,
    "upsample_factors": [8, 8, 2, 2],
    "inference_padding": PADDING,
}


@dataclass(frozen=True)
class Preset:
    """One kind of log-mel spectrogram."""

    n_fft: int  # samples
    window: int  # samples
    hop: int  # samples
    n_bands: int  # mel bands between `lowest` and `highest`
    lowest: float  # Hz
    highest: float  # Hz
    scale: str  # htk; htk-mel: the same centres, slopes straight in mel; slaney, with its norm
    floor: float  # magnitude that is added before the logarithm, or the least where `clamped`
    clamped: bool = False


PRESETS = {
    "asr": Preset(512, 400, 160, 80, 0.0, 8000.0, "htk", 0.01),
    # Hershey et al. (2017), and Comanducci et al. (2021)
    "vggish": Preset(512, 400, 160, 64, 125.0, 7500.0, "htk-mel", 0.01),
    # SpeechBrain's HiFi-GAN for LibriTTS at 16 kHz
    "hifigan": Preset(1024, 1024, 256, 80, 0.0, 8000.0, "slaney", 1e-5, clamped=True),
}


class LogMel:
    """The log-mel spectrogram of a preset, by its name in `PRESETS`, and Griffin-Lim back."""

    def __init__(self, preset: str):
        self.preset = PRESETS[preset]
        self.bands = mel_bands(self.preset)
        self.inverse = torch.linalg.pinv(self.bands.double())
        self.window = torch.hann_window(self.preset.window)

    def __call__(self, speech: Tensor) -> Tensor:
        """Return the natural logarithm of the magnitude per band: (frames, bands).

        `speech` is (n_samples,), 16 kHz, at `LEVEL`; frames are centred, one per hop.
        """
        p = self.preset
        spectrum = torch.stft(
            *(speech, p.n_fft, p.hop, p.window, self.window.to(speech.device)),
            center=True,
            pad_mode="constant",
            return_complex=True,
        ).abs()
        mel = spectrum.T @ self.bands.to(speech.device)
        return (mel.clamp(min=p.floor) if p.clamped else mel + p.floor).log()

    def magnitudes(self, log_mel: Tensor) -> Tensor:
        """Estimate the magnitude spectrum behind log-mel values: (..., bands) -> (..., bins).

        The least squares that are not negative, by multiplicative updates from the
        pseudo-inverse (Lee & Seung, 2001): InverseMelScale fails at this many bands.
        """
        p, bands = self.preset, self.bands.double()
        mel = log_mel.double().clamp(max=15).exp()  # an untrained inverter may say anything
        mel = mel if p.clamped else (mel - p.floor).clamp(min=0)
        bins = (mel @ self.inverse).clamp(min=1e-8)
        wanted, mixing = mel @ bands.T, bands @ bands.T
        for _ in range(NNLS_STEPS):
            bins = bins * wanted / (bins @ mixing).clamp(min=1e-12)
        return bins.float()

    def to_wav(self, log_mel: Tensor, n_samples: int, n_iter: int = 32, seed: int = 0) -> Tensor:
        """Make speech of a log-mel spectrogram by Griffin-Lim; `seed` draws its first phases.

        From (frames, bands) to (n_samples,), cut or filled with silence, on the CPU: the same on
        every machine but for rounding.
        """
        p = self.preset
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            speech = audio.griffinlim(
                self.magnitudes(log_mel.cpu()).T,
                *(self.window, p.n_fft, p.hop, p.window),
                power=1.0,
                n_iter=n_iter,
                momentum=0.99,
                rand_init=True,
                length=(len(log_mel) - 1) * p.hop,  # what the frames hold
            )
        return of_length(speech, n_samples)


class NeuralVocoder:
    """SpeechBrain's HiFi-GAN for LibriTTS at 16 kHz, for the preset `hifigan`.

    Its folder holds generator.ckpt of speechbrain/tts-hifigan-libritts-16kHz, tensors only. The
    hyperparams.yaml there is not read: such a file can run any code.
    """

    def __init__(self, folder: str | Path):
        path = vocoder_file(folder)
        self.model = HifiganGenerator(**HIFIGAN)
        state = hook_on_loading_state_dict_checkpoint(load_safely(path))
        load_strictly(self.model, state, str(path), f"expected that of {HIFIGAN_SOURCE}")
        self.model.remove_weight_norm()
        self.model.eval()
        self.mel = LogMel("hifigan")

    @torch.inference_mode()
    def to_wav(self, log_mel: Tensor, n_samples: int, n_iter: int = 0, seed: int = 0) -> Tensor:
        """Make speech of a log-mel spectrogram; as `LogMel.to_wav`, without iterations."""
        found = self.model.inference(log_mel.cpu().T[None])[0, 0]
        extra = PADDING * self.mel.preset.hop  # of the frames that it adds at either end
        return of_length(found[extra : len(found) - extra], n_samples)


def vocoder_file(folder: str | Path) -> Path:
    """Return the weights of a HiFi-GAN in a folder."""
    path = Path(folder).expanduser() / "generator.ckpt"
    if not path.is_file():
        raise RecipeError(
            f"vocoder={folder}: no generator.ckpt here; expected griffinlim, or the folder of "
            f"{HIFIGAN_SOURCE}"
        )
    return path


def load_strictly(model: torch.nn.Module, state: dict[str, Any], what: str, remedy: str) -> None:
    """Load the tensors of a network, these and no others; `what` and `remedy` are for messages."""
    try:
        model.load_state_dict(state, strict=True)
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RecipeError(f"{what}: {reason}; {remedy}") from None


def mel_bands(preset: Preset) -> Tensor:
    """Return the weights of the mel bands: (n_fft // 2 + 1, n_bands)."""
    n_bins = preset.n_fft // 2 + 1
    if preset.scale != "htk-mel":
        norm = "slaney" if preset.scale == "slaney" else None
        with warnings.catch_warnings():  # the lowest of 80 bands lie between two bins
            warnings.simplefilter("ignore")
            return audio.melscale_fbanks(
                n_bins, preset.lowest, preset.highest, preset.n_bands, ASR_RATE, norm, preset.scale
            )
    edges = torch.linspace(_mel(preset.lowest), _mel(preset.highest), preset.n_bands + 2)
    bins = torch.tensor([_mel(i * ASR_RATE / preset.n_fft) for i in range(n_bins)])[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    bands = torch.minimum(rising, falling).clamp(min=0)
    bands[0] = 0.0  # no constant
    return bands


def _mel(frequency: float) -> float:
    return 1127.0 * math.log1p(frequency / 700.0)


def of_length(speech: Tensor, n_samples: int) -> Tensor:
    """Cut a signal (samples,) to a length, or fill it with silence at its end."""
    return torch.nn.functional.pad(speech, (0, n_samples - len(speech)))


def at_level(speech: Tensor, level: float = LEVEL) -> Tensor:
    """Bring a signal (n_samples,) to a root mean square of `level` dB; silence stays silent."""
    rms = speech.square().mean().sqrt()
    return speech * (10 ** (level / 20) / rms) if rms > SILENT else speech
