"""A canvas in world coordinates, and the colours of all images."""

import math

import numpy as np

# Okabe and Ito's palette, distinguishable with every kind of colour vision.
# https://jfly.uni-koeln.de/color/
ORANGE, SKY, GREEN, YELLOW = (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)
BLUE, VERMILLION, PURPLE = (0, 114, 178), (213, 94, 0), (204, 121, 167)
WHITE, GREY = (236, 239, 244), (118, 126, 140)

PAPER, INK, LINE = (250, 250, 248), (51, 56, 66), (176, 182, 192)  # of the drawings
NIGHT, GRID = (28, 32, 40), (39, 44, 54)  # of the cells

SUPERSAMPLE = 3  # drawings are made this much larger and averaged, which smooths their edges


class Paper:
    """A canvas in world coordinates, y upwards; `origin` is in pixels from the top left."""

    def __init__(self, width, height, scale, origin):
        from PIL import Image, ImageDraw

        self.image = Image.new("RGB", (width * SUPERSAMPLE, height * SUPERSAMPLE), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.scale, self.origin = scale * SUPERSAMPLE, np.asarray(origin) * SUPERSAMPLE

    def points(self, xy):
        """World coordinates `[..., 2]` in pixels of the enlarged canvas, as a list of tuples."""
        pixels = self.origin + np.asarray(xy, np.float64) * self.scale * (1, -1)
        return [tuple(point) for point in pixels.reshape(-1, 2)]

    def circle(self, centre, radius, fill):
        ((x, y),) = self.points(centre)
        r = radius * self.scale
        self.draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def line(self, points, width, fill):
        """A line of `width` world units through `points`, with rounded ends and corners."""
        pixels = max(1, round(width * self.scale))
        self.draw.line(self.points(points), fill=fill, width=pixels, joint="curve")
        for end in (points[0], points[-1]):
            self.circle(end, width / 2, fill)

    def polygon(self, points, fill):
        self.draw.polygon(self.points(points), fill=fill)

    def box(self, centre, size, fill, angle=0.0):
        """A rectangle of `size` around `centre`, rotated anticlockwise by `angle`."""
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2 * size
        self.polygon(np.asarray(centre) + corners @ rotation(angle).T, fill)

    def write(self, centre, text, height, fill=INK):
        """`text` in letters of about `height` world units, centred at `centre`."""
        from PIL import ImageFont

        font = ImageFont.load_default(max(1, height * self.scale))
        self.draw.text(self.points(centre)[0], text, fill=fill, font=font, anchor="mm")

    def pixels(self):
        return np.asarray(self.image.reduce(SUPERSAMPLE))


def rotation(angle):
    return np.array([(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])


def direction(angle):
    """The unit vector at `angle`, anticlockwise from the right."""
    return np.array((math.cos(angle), math.sin(angle)))


def numbers(*leaves):
    """The leaves of one state, or parameters, as finite floats."""
    found = [np.asarray(leaf, np.float64) for leaf in leaves]
    if any(number.size != 1 for number in found):
        raise ValueError(f"only one state can be drawn at a time, not a batch {found[0].shape}")
    values = [number.item() for number in found]
    if not np.isfinite(values).all():
        raise ValueError(f"a state that is not finite cannot be drawn: {values}")
    return values


def integers(*leaves):
    """The leaves of one state, or parameters, as Python integers."""
    return [int(number) for number in numbers(*leaves)]
