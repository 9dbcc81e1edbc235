"""Pictures of environment states, drawn without a display. `DRAWINGS` lists what can be drawn.

Everything here runs on the host with NumPy and Pillow. Pictures are `[H, W, 3]` uint8.
"""

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Okabe and Ito's palette, distinguishable with every kind of colour vision.
# https://jfly.uni-koeln.de/color/
ORANGE, SKY, GREEN, YELLOW = (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)
BLUE, VERMILLION, PURPLE = (0, 114, 178), (213, 94, 0), (204, 121, 167)
WHITE, GREY = (236, 239, 244), (118, 126, 140)

PAPER, INK, LINE = (250, 250, 248), (51, 56, 66), (176, 182, 192)  # of the drawings
NIGHT, GRID = (28, 32, 40), (39, 44, 54)  # of the cells

SUPERSAMPLE = 3  # drawings are made this much larger and averaged, which smooths their edges


def frame(name: str, env_state: Any, obs: Any) -> np.ndarray:
    """Draws one state of the environment `name` as `[H, W, 3]` uint8.

    An environment without a drawing of its own is shown by its observation if that is a picture:
    `[H, W]` or `[H, W, C]`, each channel a colour, as bright as its value between 0 and 1 (uint8:
    0 and 255). A state does not tell the parameters of its environment: poles, goals and maps are
    drawn as they are by default.

    Args:
      env_state: one state, not a batch; wrapped states are unwrapped.
      obs: the observation that belongs to it.

    Raises:
      ValueError: there is no drawing, and the observation is no picture.
    """
    while hasattr(env_state, "inner"):
        env_state = env_state.inner
    if name in DRAWINGS:
        return DRAWINGS[name](env_state, obs)
    pixels = np.asarray(obs) if hasattr(obs, "shape") else np.empty(0)
    if pixels.ndim not in (2, 3) or not 1 < max(pixels.shape[:2]) <= 512 or 0 in pixels.shape:
        raise ValueError(
            f"{name} cannot be drawn: drawings exist for {', '.join(DRAWINGS)} and for "
            f"observations that are pictures ([H, W] or [H, W, C])"
        )
    if pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8:
        return _enlarge(pixels)
    return _cells(pixels)


# --- classic control: lines and circles in the units of the world -------------------------------


class _Paper:
    """A sheet drawn on in world coordinates, y upwards; `origin` is in pixels from the top left."""

    def __init__(self, width, height, scale, origin):
        from PIL import Image, ImageDraw

        self.image = Image.new("RGB", (width * SUPERSAMPLE, height * SUPERSAMPLE), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.scale, self.origin = scale * SUPERSAMPLE, np.asarray(origin) * SUPERSAMPLE

    def points(self, xy):
        """World coordinates `[..., 2]` in pixels of the enlarged sheet, as a list of tuples."""
        pixels = self.origin + np.asarray(xy, np.float64) * self.scale * (1, -1)
        return [tuple(point) for point in pixels.reshape(-1, 2)]

    def circle(self, centre, radius, fill):
        ((x, y),) = self.points(centre)
        r = radius * self.scale
        self.draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def line(self, points, width, fill):
        """A line of `width` world units through `points`, its ends and bends rounded."""
        pixels = max(1, round(width * self.scale))
        self.draw.line(self.points(points), fill=fill, width=pixels, joint="curve")
        for end in (points[0], points[-1]):
            self.circle(end, width / 2, fill)

    def polygon(self, points, fill):
        self.draw.polygon(self.points(points), fill=fill)

    def box(self, centre, size, fill, angle=0.0):
        """A rectangle of `size` about `centre`, turned anticlockwise."""
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2 * size
        self.polygon(np.asarray(centre) + corners @ _rotation(angle).T, fill)

    def pixels(self):
        return np.asarray(self.image.reduce(SUPERSAMPLE))


def _rotation(angle):
    return np.array([(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])


def _direction(angle):
    """The unit vector at `angle`, anticlockwise from the right."""
    return np.array((math.cos(angle), math.sin(angle)))


def _numbers(*leaves):
    """The leaves of one state as finite floats."""
    numbers = [np.asarray(leaf, np.float64) for leaf in leaves]
    if any(number.size != 1 for number in numbers):
        raise ValueError(f"one state can be drawn at a time, not a batch {numbers[0].shape}")
    values = [number.item() for number in numbers]
    if not np.isfinite(values).all():
        raise ValueError(f"a state that is not finite cannot be drawn: {values}")
    return values


def _cart_pole(state, obs):
    """`theta` is measured from upright and leans right where positive; the pole is 1 m long."""
    x, theta = _numbers(state.x, state.theta)
    paper = _Paper(400, 220, scale=73, origin=(200, 165))
    paper.line([(-2.4, 0), (2.4, 0)], 0.035, LINE)
    for limit in (-2.4, 2.4):
        paper.line([(limit, -0.09), (limit, 0.09)], 0.035, LINE)
    axle = np.array((x, 0.11))
    paper.box((x, 0), (0.58, 0.34), INK)
    paper.line([axle, axle + _direction(math.pi / 2 - theta)], 0.11, ORANGE)
    paper.circle(axle, 0.045, PAPER)
    return paper.pixels()


def _acrobot(state, obs):
    """Angles run anticlockwise from hanging down, the second one from the first link."""
    angle1, angle2 = _numbers(state.joint_angle1, state.joint_angle2)
    paper = _Paper(400, 300, scale=66, origin=(200, 150))
    paper.line([(-2.2, 1), (2.2, 1)], 0.03, LINE)  # the tip must swing above this height
    elbow = _direction(angle1 - math.pi / 2)
    tip = elbow + _direction(angle1 + angle2 - math.pi / 2)
    paper.line([(0, 0), elbow], 0.17, BLUE)
    paper.line([elbow, tip], 0.17, SKY)
    for joint in ((0, 0), elbow):
        paper.circle(joint, 0.05, PAPER)
    paper.circle(tip, 0.05, INK)
    return paper.pixels()


def _pendulum(state, obs):
    """`theta` runs anticlockwise from upright; the longer the arrow, the stronger the last torque."""
    theta, torque = _numbers(state.theta, state.last_u)
    paper = _Paper(400, 300, scale=112, origin=(200, 150))
    tip = _direction(theta + math.pi / 2)
    paper.line([(0, 0), tip], 0.17, VERMILLION)
    paper.circle((0, 0), 0.045, INK)
    paper.circle(tip, 0.045, PAPER)
    sweep = np.clip(torque / 2.0, -1, 1) * 0.75 * np.pi  # 2 is the strongest torque
    if abs(sweep) > 0.1:
        angles = np.linspace(0, sweep, 40) + np.pi / 2 - sweep / 2
        arc = 0.3 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        paper.line(arc, 0.035, INK)
        head = np.array([(-0.06, -0.02), (0.06, -0.02), (0, 0.1)])
        if sweep < 0:
            head = head * (1, -1)
        paper.polygon(arc[-1] + head @ _rotation(angles[-1]).T, INK)
    return paper.pixels()


def _mountain_car(goal):
    """A car in the valley `0.45 sin(3x) + 0.55`, and a flag at `goal`."""

    def draw(state, obs):
        (x,) = _numbers(state.position)

        def ground(x):
            return np.stack([x, np.sin(3 * x) * 0.45 + 0.55], axis=-1)

        paper = _Paper(400, 270, scale=190, origin=(260, 250))
        hill = ground(np.linspace(-1.45, 0.8, 200))
        paper.polygon([(-1.45, -1), *hill, (0.8, -1)], (222, 226, 230))
        paper.line(hill, 0.012, LINE)
        foot = ground(np.float64(goal))
        flag = foot + np.array([(0, 0.245), (0, 0.155), (0.11, 0.2)])
        paper.line([foot, flag[0]], 0.012, INK)
        paper.polygon(flag, ORANGE)
        slope = math.atan(1.35 * math.cos(3 * x))
        turn = _rotation(slope)
        paper.box(ground(np.float64(x)) + turn @ (0, 0.085), (0.19, 0.07), BLUE, slope)
        paper.box(ground(np.float64(x)) + turn @ (-0.01, 0.135), (0.1, 0.05), SKY, slope)
        for wheel in (-0.055, 0.055):
            paper.circle(ground(np.float64(x)) + turn @ (wheel, 0.04), 0.036, INK)
        return paper.pixels()

    return draw


# --- grids --------------------------------------------------------------------------------------

CHANNELS = (SKY, ORANGE, GREEN, YELLOW, VERMILLION, PURPLE, BLUE, WHITE, GREY, (135, 90, 50))


def _cells(obs, colours: Sequence | None = None, ground=NIGHT):
    """Colours the cells of `[H, W]` or `[H, W, C]`; where channels meet, the first one is on top.

    Args:
      colours: one per channel; without, those of `CHANNELS`, repeated darker where they run out.
      ground: the colour of an empty cell, `[3]` or `[H, W, 3]`.
    """
    obs = np.asarray(obs)
    values = obs.astype(np.float32) / (255 if obs.dtype == np.uint8 and obs.max() > 1 else 1)
    values = np.clip(np.nan_to_num(values.reshape(*obs.shape[:2], -1)), 0, 1)
    num_channels = values.shape[2]
    if colours is None:
        rounds = range(-(-num_channels // len(CHANNELS)))
        colours = [np.array(colour) * 0.6**turn for turn in rounds for colour in CHANNELS]
        colours = [WHITE] if num_channels == 1 else colours
    picture = np.broadcast_to(np.asarray(ground, np.float32), (*obs.shape[:2], 3)).copy()
    for channel in reversed(range(num_channels)):
        value = values[..., channel, None]
        picture += value * (np.asarray(colours[channel], np.float32) - picture)
    return _enlarge(np.rint(picture).astype(np.uint8))


def _enlarge(pixels, longest=320):
    """Every pixel a square, parted from its neighbours by a thin line if there is room for one."""
    size = min(64, max(1, longest // max(pixels.shape[:2])))
    picture = pixels.repeat(size, axis=0).repeat(size, axis=1)
    if size >= 12:
        picture[::size] = picture[:, ::size] = GRID
    return picture


def _channels(*colours):
    """A game that is drawn from its observation `[H, W, C]`, with these colours."""

    def draw(state, obs):
        obs = np.asarray(obs)
        if obs.ndim != 3 or obs.shape[2] != len(colours):
            raise ValueError(
                f"the observation {obs.shape} cannot be drawn: [H, W, {len(colours)}] was expected"
            )
        return _cells(obs, colours)

    return draw


def _disc(picture, row, column, num_rows, colour):
    """Paints a disc into one cell of `picture`, a grid of `num_rows` rows."""
    size = picture.shape[0] // num_rows
    offset = np.arange(size) - (size - 1) / 2
    distance = np.hypot(offset[:, None], offset)
    cover = np.clip(0.36 * size - distance + 0.5, 0, 1)[..., None]
    cell = picture[row * size : (row + 1) * size, column * size : (column + 1) * size]
    cell[:] = np.rint(cell + cover * (np.asarray(colour) - cell.astype(np.float64)))
    return picture


def _integers(*leaves):
    return [int(number) for number in _numbers(*leaves)]


def _catch(state, obs):
    ball_y, ball_x = _integers(state.ball_y, state.ball_x)
    paddle_y, paddle_x = _integers(state.paddle_y, state.paddle_x)
    cells = np.zeros(np.shape(obs))
    cells[paddle_y, paddle_x] = 1
    return _disc(_cells(cells, (SKY,)), ball_y, ball_x, len(cells), ORANGE)


def _deep_sea(state, obs):
    """The diver, the treasure in the corner, and water that darkens with depth."""
    size = len(np.asarray(obs))
    row, column = _integers(state.row, state.column)
    row, column = min(row, size - 1), min(column, size - 1)  # the end is below the last row
    treasure = np.zeros((size, size))
    treasure[-1, -1] = 1
    depth = np.linspace(0, 1, size)[:, None, None]
    water = np.broadcast_to((1 - depth) * (46, 96, 138) + depth * NIGHT, (size, size, 3))
    return _disc(_cells(treasure, (YELLOW,), water), row, column, size, ORANGE)


def _frozen_lake(state, obs):
    """The 4x4 map of Gymnasium; a state does not tell its map, so no other can be drawn."""
    lake = ("SFFF", "FHFH", "FFFH", "HFFG")
    (position,) = _integers(state.position)
    if not 0 <= position < 16:
        raise ValueError(f"position {position} is not on the 4x4 map, the only one that is drawn")
    tiles = {"S": (170, 205, 226), "F": (214, 232, 243), "H": (38, 70, 104), "G": YELLOW}
    ground = np.array([[tiles[tile] for tile in row] for row in lake], np.uint8)
    return _disc(_enlarge(ground), *divmod(position, 4), 4, VERMILLION)


def _four_rooms(state, obs):
    """The walls, the goal and the agent; positions are (row, column)."""
    from gymnax.environments.misc.rooms import four_rooms_map

    walls = np.array([[tile == "x" for tile in row] for row in four_rooms_map.split("\n")[1:]])
    ground = np.where(walls[..., None], GREY, NIGHT).astype(np.uint8)
    ground[tuple(np.asarray(state.goal, np.int64))] = YELLOW
    return _disc(_enlarge(ground), *np.asarray(state.pos, np.int64), len(walls), SKY)


DRAWINGS = {
    "CartPole-v1": _cart_pole,
    "Acrobot-v1": _acrobot,
    "Pendulum-v1": _pendulum,
    "MountainCar-v0": _mountain_car(goal=0.5),
    "MountainCarContinuous-v0": _mountain_car(goal=0.45),
    # player, enemy, trail, gold
    "Asterix-MinAtar": _channels(SKY, VERMILLION, (92, 58, 40), YELLOW),
    # paddle, ball, trail, brick
    "Breakout-MinAtar": _channels(SKY, YELLOW, (104, 100, 52), VERMILLION),
    # chicken, car, and the car's trail from slow to fast
    "Freeway-MinAtar": _channels(
        YELLOW, VERMILLION, (58, 62, 74), (62, 72, 104), (60, 84, 136), (66, 100, 170), SKY
    ),
    # submarine's bow and stern, its bullet, trail, enemy's bullet, fish, enemy submarine, oxygen,
    # divers on board, divers
    "Seaquest-MinAtar": _channels(
        SKY, BLUE, YELLOW, GREY, VERMILLION, GREEN, PURPLE, WHITE, (247, 208, 120), ORANGE
    ),
    # cannon, alien, aliens moving left, moving right, own bullet, enemy's bullet
    "SpaceInvaders-MinAtar": _channels(SKY, GREEN, PURPLE, BLUE, YELLOW, VERMILLION),
    "Catch-bsuite": _catch,
    "DeepSea-bsuite": _deep_sea,
    "FrozenLake-misc": _frozen_lake,
    "FourRooms-misc": _four_rooms,
    # paddles, ball, where the ball was
    "Pong-misc": _channels(SKY, YELLOW, (104, 100, 52)),
}


# --- captions and files -------------------------------------------------------------------------


def caption(frame: np.ndarray, text: str) -> np.ndarray:
    """`frame` `[H, W, 3]` with a strip under it that says `text` in letters small enough to fit."""
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
    """Writes `frames`, each `[H, W, 3]` uint8 and of one size, as a GIF that loops for ever.

    Frames are left out evenly (every 2nd, 3rd, ...) until there are at most `max_frames` of them,
    `max_bytes` suffice and viewers can keep up; the others then stand longer, so that the
    animation lasts `len(frames) / fps` seconds all the same. Of equal neighbours one is stored.

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
    # Browsers show a frame that asks for less than 2/100 s for 10/100 s.
    stride = max(1, -(-len(frames) // max_frames), math.ceil(fps / 50))
    data = _gif(frames, fps, stride)
    while len(data) > max_bytes and stride < len(frames):
        stride = max(stride + 1, math.floor(stride * len(data) / max_bytes))
        data = _gif(frames, fps, stride)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _gif(frames, fps, stride):
    """Every `stride`-th frame as the bytes of a GIF."""
    from PIL import Image

    # A GIF counts time in 1/100 s: frames begin at the nearest tick, so errors do not add up.
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

    A palette for each frame would make colours flicker, and Pillow's `quantize(palette=...)` takes
    close colours for each other. Here the `num_kept` colours that fill most are kept exactly, so
    that plain surfaces stay plain, and the others, the shades of smoothed edges, share the rest.
    """
    from PIL import Image

    codes = [frame.astype(np.int32) @ np.array((1 << 16, 1 << 8, 1), np.int32) for frame in frames]
    table = np.zeros(1 << 24, np.uint8)  # from a colour's code to its index in the palette
    for code in codes:
        table[code] = 1
    colours = np.flatnonzero(table)
    if colours.size > 1 << 15:  # photographs: drop the bits that no palette could show
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
        # |c - p|^2 without |c|^2, which does not move the minimum.
        shades = palette.astype(np.float32)
        distance = (shades**2).sum(-1) - 2 * _rgb(rest).astype(np.float32) @ shades.T
        table[rest] = distance.argmin(axis=1)
    table[kept] = np.arange(kept.size)
    return palette, [table[code] for code in codes]


def _rgb(codes):
    """Colours `[K, 3]` from codes `0xRRGGBB`."""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1).astype(np.uint8)
