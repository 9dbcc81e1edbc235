"""Captions, and animations as GIF files."""

import io
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from jaxrl import files
from jaxrl.envs.render.paper import INK, LINE, PAPER


def caption(frame: np.ndarray, text: str) -> np.ndarray:
    """`frame` `[H, W, 3]` with a strip under it that shows `text` in letters small enough to fit."""
    from PIL import Image, ImageDraw, ImageFont

    width = frame.shape[1]
    strip = Image.new("RGB", (width, CAPTION_HEIGHT), PAPER)
    draw = ImageDraw.Draw(strip)
    draw.line((0, 0, width, 0), fill=LINE)
    size = 13
    while size > 7 and draw.textlength(text, ImageFont.load_default(size)) > width - 12:
        size -= 1
    font = ImageFont.load_default(size)
    draw.text((6, CAPTION_HEIGHT / 2), text, fill=INK, font=font, anchor="lm")
    return np.concatenate([frame, np.asarray(strip)])


CAPTION_HEIGHT = 22


def write_gif(
    path,
    frames: Iterable[np.ndarray],
    fps: float = 30,
    max_frames: int = 500,
    max_bytes: int = 2_000_000,
) -> None:
    """Writes `frames`, each `[H, W, 3]` uint8 and of one size, as a GIF that loops forever.

    Only every 2nd, 3rd, ... frame is kept if there are more than `max_frames`, more than `max_bytes`, or too
    many per second for viewers; the remaining ones are shown longer, so that the animation still lasts
    `len(frames) / fps` seconds. Of identical consecutive frames one is stored.

    Raises:
      ValueError: there are no frames, they differ in size, or `fps` is not positive.
    """
    frames = list(frames)
    if not frames:
        raise ValueError("an animation needs at least one frame")
    if not fps > 0:
        raise ValueError(f"fps must be positive, not {fps}")
    if len({frame.shape for frame in frames}) > 1:
        raise ValueError(f"frames differ in size: {sorted({frame.shape for frame in frames})}")
    # Browsers show a frame with a duration below 2/100 s for 10/100 s.
    stride = max(1, -(-len(frames) // max_frames), math.ceil(fps / 50))
    data = _gif(frames, fps, stride)
    while len(data) > max_bytes and stride < len(frames):
        stride = max(stride + 1, math.floor(stride * len(data) / max_bytes))
        data = _gif(frames, fps, stride)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, data)


def _gif(frames, fps, stride):
    """Every `stride`-th frame as the bytes of a GIF."""
    from PIL import Image

    # Durations in a GIF are multiples of 1/100 s: frames begin at the nearest tick, so errors do not add up.
    starts = [*range(0, len(frames), stride), len(frames)]
    ticks = np.rint(100 * np.array(starts) / fps).astype(int)
    durations = np.maximum(np.diff(ticks), 2) * 10
    chosen = frames[::stride]
    palette, indices = _indexed(chosen)
    images = [Image.frombytes("P", index.shape[::-1], index.tobytes()) for index in indices]
    for image in images:
        image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=durations.tolist(),
        loop=0,
        optimize=False,
        disposal=1,
    )
    return buffer.getvalue()


def _indexed(frames, num_kept=128, num_samples=24):
    """One palette `[K, 3]` for all frames, and each frame as indices `[H, W]` into it.

    With a palette per frame, colours would flicker, and Pillow's `quantize(palette=...)` confuses similar
    colours. Here the `num_kept` most frequent colours are kept exactly, so that plain surfaces stay plain;
    the other colours, the shades of smoothed edges, share the rest of the palette.
    """
    from PIL import Image

    codes = [frame.astype(np.int32) @ np.array((1 << 16, 1 << 8, 1), np.int32) for frame in frames]
    table = np.zeros(1 << 24, np.uint8)  # from a colour's code to its index in the palette
    for code in codes:
        table[code] = 1
    colours = np.flatnonzero(table)
    if colours.size > 1 << 15:  # photographs: drop bits that no palette could represent
        codes = [code & 0xF8F8F8 for code in codes]
        colours = np.unique(colours & 0xF8F8F8)
    samples = codes[:: -(-len(codes) // num_samples)]
    found, counts = np.unique(np.concatenate(samples, axis=None), return_counts=True)
    kept = found[np.argsort(-counts, kind="stable")][:num_kept]
    rest = np.setdiff1d(colours, kept)
    palette = _rgb(kept)
    if rest.size:
        shades = Image.fromarray(_rgb(rest)[None]).quantize(256 - num_kept, Image.Quantize.MEDIANCUT)
        shades = np.array(shades.getpalette(), np.uint8).reshape(-1, 3)
        palette = np.concatenate([palette, shades])
        # |c - p|^2 without |c|^2, which does not affect the minimum.
        shades = palette.astype(np.float32)
        distance = (shades**2).sum(-1) - 2 * _rgb(rest).astype(np.float32) @ shades.T
        table[rest] = distance.argmin(axis=1)
    table[kept] = np.arange(kept.size)
    return palette, [table[code] for code in codes]


def _rgb(codes):
    """Colours `[K, 3]` from codes `0xRRGGBB`."""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1).astype(np.uint8)
