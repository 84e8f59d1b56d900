"""`tf.io`, `tf.errors`, `tf.debugging` and tensor protos: files, image codecs, assertions.

Images are read and written by Pillow.
"""

from __future__ import annotations

import functools
import glob
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cdl._common.optional_imports import needed
from cdl.data.texts import decoded, encoded
from cdl.preprocessing.image import as_mode
from cdl.scripts.tensor import tensors


def path_of(name: Any) -> str:
    """The path in a str, bytes, a path object or a tensor of one text."""
    name = name.item() if isinstance(name, np.ndarray) else name
    return decoded(name) if isinstance(name, bytes) else os.fspath(name)


def paths_of(names: Any) -> list[str]:
    """The paths in one name, or in a list, a tensor or a data set of names."""
    many = hasattr(names, "as_numpy_iterator") or np.ndim(names)
    return [path_of(each) for each in (names if many else [names])]


# --- files: tf.io.gfile ---


def _copy(src: Any, dst: Any, overwrite: bool = False) -> None:
    """`tf.io.gfile.copy`: copy a file; FileExistsError without `overwrite` if there is one."""
    if not overwrite and os.path.exists(path_of(dst)):
        raise FileExistsError(
            f"tf.io.gfile.copy: {path_of(dst)} is there; overwrite=True replaces it"
        )
    shutil.copy(path_of(src), path_of(dst))


def _rename(src: Any, dst: Any, overwrite: bool = False) -> None:
    """`tf.io.gfile.rename`: move a file; FileExistsError without `overwrite` if there is one."""
    if not overwrite and os.path.exists(path_of(dst)):
        raise FileExistsError(
            f"tf.io.gfile.rename: {path_of(dst)} is there; overwrite=True replaces it"
        )
    os.replace(path_of(src), path_of(dst))


def _remove(path: Any) -> None:
    """`tf.io.gfile.remove`: delete a file."""
    os.remove(path_of(path))


def files_of(pattern: Any) -> list[str]:
    """`tf.io.gfile.glob`: the files that match one pattern or several, sorted by pattern."""
    return [name for each in paths_of(pattern) for name in sorted(glob.glob(each))]


def _walk(top: Any, topdown: bool = True, onerror: Any = None) -> Iterator[Any]:
    """`tf.io.gfile.walk`: folders with their folders and files, recursively."""
    return os.walk(path_of(top), topdown, onerror)


def _open(name: Any, mode: str = "r") -> Any:
    """`tf.io.gfile.GFile`: open a file, as UTF-8 text or as bytes."""
    return open(path_of(name), mode, encoding=None if "b" in mode else "utf-8")


GFILE: dict[str, Callable[..., Any]] = {
    "GFile": _open,
    "copy": _copy,
    "exists": lambda path: os.path.exists(path_of(path)),
    "glob": files_of,
    "isdir": lambda path: os.path.isdir(path_of(path)),
    "join": lambda path, *paths: os.path.join(path_of(path), *map(path_of, paths)),
    "listdir": lambda path: os.listdir(path_of(path)),
    "makedirs": lambda path: os.makedirs(path_of(path), exist_ok=True),
    "mkdir": lambda path: os.mkdir(path_of(path)),
    "remove": _remove,
    "rename": _rename,
    "rmtree": lambda path: shutil.rmtree(path_of(path)),
    "stat": lambda path: os.stat(path_of(path)),
    "walk": _walk,
}


# --- contents: tf.io ---


def _of_bytes(content: bytes) -> Any:
    """A scalar tensor of bytes, of dtype object since NumPy's dtype S drops trailing zeros."""
    array = np.empty((), object)
    array[()] = content
    return tensors(array)


def _bytes(contents: Any) -> bytes:
    content = contents.item() if isinstance(contents, np.ndarray) else contents
    return encoded(content if isinstance(content, bytes) else str(content))


def _read_file(filename: Any, name: Any = None) -> Any:
    """`tf.io.read_file`: the bytes of a file as a scalar tensor."""
    return _of_bytes(Path(path_of(filename)).read_bytes())


def _write_file(filename: Any, contents: Any, name: Any = None) -> None:
    """`tf.io.write_file`: write bytes or text, creating parent folders."""
    path = Path(path_of(filename))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_bytes(contents))


def _decode_raw(input_bytes: Any, out_type: Any, little_endian: bool = True, **_: Any) -> Any:
    """`tf.io.decode_raw`: interpret bytes as numbers of a dtype."""
    dtype = np.dtype(str(out_type)).newbyteorder("<" if little_endian else ">")
    return tensors(np.frombuffer(_bytes(input_bytes), dtype).astype(str(out_type)))


_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def _decode(
    contents: Any,
    channels: int = 0,
    dtype: Any = "uint8",
    expand_animations: bool = True,
    name: Any = None,
    **older: Any,
) -> Any:
    """`tf.io.decode_image`, `decode_png` and the like: pixels of shape (height, width, channels).

    `channels` 0 keeps the channels of the file. Only the first frame of an animation is decoded.
    """
    pillow = needed("PIL.Image", "images", "tf.io.decode_image")
    if channels not in (0, *_MODES):
        raise ValueError(f"tf.io.decode_image: channels must be 0, 1, 3 or 4, got {channels}")
    image = pillow.open(io.BytesIO(_bytes(contents)))
    if channels:
        image = as_mode(image, _MODES[channels], "tf.io.decode_image")
    elif image.mode not in ("L", "RGB", "RGBA", "I;16"):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    pixels = np.asarray(image)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return _in_range_of(pixels, str(dtype))


def _in_range_of(pixels: Any, dtype: str) -> Any:
    from cdl.scripts.tf_image import convert_image_dtype

    return tensors(pixels) if str(pixels.dtype) == dtype else convert_image_dtype(pixels, dtype)


def _encode(kind: str) -> Callable[..., Any]:
    def call(image: Any, *args: Any, **options: Any) -> Any:
        """`tf.io.encode_png` or `tf.io.encode_jpeg`: the bytes of an image file."""
        pillow = needed("PIL.Image", "images", f"tf.io.encode_{kind}")
        pixels = np.asarray(image, np.uint8)
        pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        out = io.BytesIO()
        quality = {"quality": int(options.get("quality", 95))} if kind == "jpeg" else {}
        pillow.fromarray(pixels).save(out, kind, **quality)
        return _of_bytes(out.getvalue())

    return call


def _matching_files(pattern: Any, name: Any = None) -> Any:
    """`tf.io.matching_files`: paths that match patterns, as a tensor."""
    return tensors(np.array(files_of(pattern)))


_DECODERS = ("decode_image", "decode_jpeg", "decode_png", "decode_bmp", "decode_gif")
CODECS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_DECODERS, _decode),
    "encode_jpeg": _encode("jpeg"),
    "encode_png": _encode("png"),
}
IO: dict[str, Callable[..., Any]] = {
    **CODECS,
    "decode_raw": _decode_raw,
    "matching_files": _matching_files,
    "read_file": _read_file,
    "write_file": _write_file,
}


# --- errors ---

# Python's exceptions in place of TensorFlow's errors.
ERRORS: dict[str, type[Exception]] = {
    "OpError": Exception,
    "AlreadyExistsError": FileExistsError,
    "CancelledError": InterruptedError,
    "DeadlineExceededError": TimeoutError,
    "FailedPreconditionError": RuntimeError,
    "InternalError": RuntimeError,
    "InvalidArgumentError": ValueError,
    "NotFoundError": FileNotFoundError,
    "OutOfRangeError": StopIteration,
    "PermissionDeniedError": PermissionError,
    "ResourceExhaustedError": MemoryError,
    "UnavailableError": ConnectionError,
    "UnimplementedError": NotImplementedError,
    "UnknownError": OSError,
}


# --- checks: tf.debugging ---


def _checked(name: str, holds: Callable[..., Any], many: int) -> Callable[..., None]:
    """Make an assertion about arrays, which passes for symbolic tensors.

    Args:
        name: its name in `tf.debugging`.
        holds: an elementwise test.
        many: the number of arrays that it takes.
    """

    def call(*args: Any, **kwargs: Any) -> None:
        from cdl import KerasTensor

        given = [*args, *(kwargs[key] for key in ("x", "y", "tensor") if key in kwargs)][:many]
        message = kwargs.get("message") or (args[many] if len(args) > many else None)
        if any(isinstance(each, KerasTensor) for each in given):
            return
        if not np.all(holds(*map(np.asarray, given))):
            shown = ", ".join(np.array2string(np.asarray(each), threshold=8) for each in given)
            raise _failed(name, f"got {shown}", message)

    return call


def _failed(name: str, text: str, message: Any) -> ValueError:
    """The error of a failed assertion, with the message of the user at the end."""
    return ValueError(f"tf.debugging.{name}: {text}{f': {message}' if message else ''}")


def _assert_near(
    x: Any,
    y: Any,
    rtol: Any = None,
    atol: Any = None,
    message: Any = None,
    summarize: Any = None,
    name: Any = None,
) -> None:
    """`tf.debugging.assert_near`: ``|x - y| <= atol + rtol * |y|``, both 1e-6 by default."""
    relative, absolute = (1e-6 if each is None else float(each) for each in (rtol, atol))
    near = functools.partial(np.isclose, rtol=relative, atol=absolute)
    _checked("assert_near", near, 2)(x, y, message=message)


def _check_numerics(tensor: Any, message: str, name: Any = None) -> Any:
    """`tf.debugging.check_numerics`: return the tensor; ValueError for NaN and infinity."""
    DEBUGGING["assert_all_finite"](tensor, message=message)
    return tensor


def _assert_rank(x: Any, rank: int, message: Any = None, name: Any = None) -> None:
    """`tf.debugging.assert_rank`: ValueError for another number of axes."""
    if len(x.shape if hasattr(x, "shape") else np.shape(x)) != int(rank):
        raise _failed("assert_rank", f"rank must be {rank}, got shape {np.shape(x)}", message)


def _assert_shapes(
    shapes: Any, data: Any = None, summarize: Any = None, message: Any = None, name: Any = None
) -> None:
    """`tf.debugging.assert_shapes`: a name stands for one size throughout, None for any size."""
    known: dict[Any, int] = {}
    for x, sizes in shapes.items() if isinstance(shapes, dict) else shapes:
        found = tuple(x.shape)
        sizes = (sizes,) if isinstance(sizes, (str, int)) else tuple(sizes)
        fits = len(found) == len(sizes)
        for size, want in zip(found, sizes, strict=False):
            want = known.setdefault(want, size) if isinstance(want, str) else want
            fits = fits and (want is None or size is None or int(want) == size)
        if not fits:
            raise _failed("assert_shapes", f"shape must be {sizes}, got {found}", message)


DEBUGGING: dict[str, Callable[..., Any]] = {
    **{
        f"assert_{name}": _checked(f"assert_{name}", getattr(np, name), 2)
        for name in ("equal", "greater", "greater_equal", "less", "less_equal")
    },
    "assert_none_equal": _checked("assert_none_equal", np.not_equal, 2),
    "assert_near": _assert_near,
    "assert_all_finite": _checked("assert_all_finite", np.isfinite, 1),
    "assert_positive": _checked("assert_positive", lambda x: x > 0, 1),
    "assert_negative": _checked("assert_negative", lambda x: x < 0, 1),
    "assert_non_negative": _checked("assert_non_negative", lambda x: x >= 0, 1),
    "assert_non_positive": _checked("assert_non_positive", lambda x: x <= 0, 1),
    "assert_rank": _assert_rank,
    "assert_shapes": _assert_shapes,
    "check_numerics": _check_numerics,
    "enable_check_numerics": lambda *_, **__: None,
}


# --- protos, for TensorBoard ---


def make_tensor_proto(values: Any, dtype: Any = None, shape: Any = None, **options: Any) -> Any:
    """`tf.make_tensor_proto`: a TensorProto of an array; requires tensorboard."""
    made = needed("tensorboard.util.tensor_util", "tensorboard", "tf.make_tensor_proto")
    return made.make_tensor_proto(np.asarray(values), dtype, shape)


def make_ndarray(tensor: Any) -> Any:
    """`tf.make_ndarray`: the array of a TensorProto; requires tensorboard."""
    made = needed("tensorboard.util.tensor_util", "tensorboard", "tf.make_ndarray")
    return made.make_ndarray(tensor)
