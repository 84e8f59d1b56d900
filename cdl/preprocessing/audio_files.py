"""audio_dataset_from_directory: audio files labelled by their folders."""

from __future__ import annotations

import os
import wave
from collections.abc import Sequence
from typing import Any

import numpy as np

from cdl._common.shared_arguments import described_by
from cdl._common.validation import not_yet, positive_int
from cdl.utils.directory_files import DirectoryFiles, from_directory
from cdl.utils.text_files import text_dataset_from_directory

_OWNER = "audio_dataset_from_directory"


@described_by(text_dataset_from_directory)
def audio_dataset_from_directory(
    directory: str | os.PathLike[str],
    labels: str | Sequence[int] | None = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    batch_size: int | None = 32,
    sampling_rate: int | None = None,
    output_sequence_length: int | None = None,
    ragged: bool = False,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    verbose: bool = True,
) -> DirectoryFiles | list[DirectoryFiles]:
    """Batches of the `.wav` files of a directory, labelled by their folders.

    Args:
        batch_size: sounds in a batch; None for sounds one by one.
        sampling_rate: must be None, or that of every file: sounds are not resampled.
        output_sequence_length: samples that each sound is cut or filled up to with zeros; None for
            those of the longest one of the batch.
        ragged: must be False.

    Returns:
        As `text_dataset_from_directory`, with sounds of float32 from -1 to 1, (n, samples,
        channels): of files of 16-bit samples.

    Raises:
        ValueError: arguments that do not fit together, no files, or a file of other samples.
        OSError: the folder or a file cannot be read.
    """
    not_yet(_OWNER, ragged=(bool(ragged), False))
    if sampling_rate is not None:
        positive_int(_OWNER, "sampling_rate", sampling_rate)
    if output_sequence_length is not None:
        positive_int(_OWNER, "output_sequence_length", output_sequence_length)

    def read(path: str) -> Any:
        sound = _samples(path, sampling_rate)
        n = output_sequence_length
        return sound if n is None else _filled(sound[:n], n)

    def join(sounds: list[Any]) -> Any:
        longest = max(map(len, sounds))
        return np.stack([_filled(sound, longest) for sound in sounds])

    given = (directory, labels, label_mode, class_names, batch_size, shuffle, seed)
    split = (validation_split, subset, follow_links, verbose)
    return from_directory(_OWNER, (".wav",), read, join, *given, *split)


def _samples(path: str, rate: int | None) -> Any:
    try:
        with wave.open(path) as file:
            width, channels, own = file.getsampwidth(), file.getnchannels(), file.getframerate()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path}: must be a .wav file of 16-bit samples: {error}") from error
    if width != 2:
        raise ValueError(f"{path}: must have samples of 16 bits, got {8 * width}")
    if rate not in (None, own):
        raise ValueError(
            f"{_OWNER}: sampling_rate must be that of the files, since sounds are not resampled: "
            f"got {rate}, and {own} of {path}"
        )
    return np.frombuffer(data, "<i2").reshape(-1, channels).astype(np.float32) / 32768


def _filled(sound: Any, n: int) -> Any:
    return np.pad(sound, ((0, n - len(sound)), (0, 0)))
