"""Drawings of classic control and of other tasks with continuous motion."""

import math
from itertools import pairwise

import numpy as np

from jaxrl.envs.render.paper import (
    BLUE,
    GREEN,
    INK,
    LINE,
    ORANGE,
    PAPER,
    PURPLE,
    SKY,
    VERMILLION,
    YELLOW,
    Paper,
    direction,
    numbers,
    rotation,
)

SHADE = (222, 226, 230)


def cart_pole(limit=2.4, swings=False):
    """`theta` is the angle from upright, positive to the right; `length` is half the length of the pole.

    Args:
      limit: default distance from the centre to the ends of the track.
      swings: whether the pole may hang down, so that space below the cart is needed.
    """

    def draw(state, obs, *, length=0.5, x_threshold=limit, **_):
        x, theta = numbers(state.x, state.theta)
        length, edge = numbers(length, x_threshold)
        axle_height = 125 if swings else 165
        scale = min(175 / edge, 0.5 * (axle_height - 15) / length, 73)
        paper = Paper(400, 250 if swings else 220, scale, origin=(200, axle_height))
        unit = 73 / scale  # carts and lines have the same thickness at every scale
        paper.line([(-edge, 0), (edge, 0)], 0.035 * unit, LINE)
        for end in (-edge, edge):
            paper.line([(end, -0.09 * unit), (end, 0.09 * unit)], 0.035 * unit, LINE)
        axle = np.array((x, 0 if swings else 0.11 * unit))
        paper.box((x, 0), (0.58 * unit, 0.34 * unit), INK)
        paper.line([axle, axle + 2 * length * direction(math.pi / 2 - theta)], 0.11 * unit, ORANGE)
        paper.circle(axle, 0.045 * unit, PAPER)
        return paper.pixels()

    return draw


def acrobot(state, obs, *, link_length_1=1.0, link_length_2=1.0, **_):
    """Angles are anticlockwise, the first from hanging down, the second from the first link."""
    angle1, angle2 = numbers(state.joint_angle1, state.joint_angle2)
    length1, length2 = numbers(link_length_1, link_length_2)
    paper = Paper(400, 300, scale=min(66, 132 / (length1 + length2)), origin=(200, 150))
    unit = 66 * 3 / paper.scale
    paper.line([(-2.2 * unit, 1), (2.2 * unit, 1)], 0.03 * unit, LINE)  # goal for links of length 1
    elbow = length1 * direction(angle1 - math.pi / 2)
    tip = elbow + length2 * direction(angle1 + angle2 - math.pi / 2)
    paper.line([(0, 0), elbow], 0.17 * unit, BLUE)
    paper.line([elbow, tip], 0.17 * unit, SKY)
    for joint in ((0, 0), elbow):
        paper.circle(joint, 0.05 * unit, PAPER)
    paper.circle(tip, 0.05 * unit, INK)
    return paper.pixels()


def pendulum(state, obs, *, l=1.0, max_torque=2.0, **_):
    """`theta` is anticlockwise from upright; the length of the arrow shows the last torque."""
    theta, torque = numbers(state.theta, state.last_u)
    length, strongest = numbers(l, max_torque)
    paper = Paper(400, 300, scale=112, origin=(200, 150))
    tip = min(length, 1.2) * direction(theta + math.pi / 2)
    paper.line([(0, 0), tip], 0.17, VERMILLION)
    paper.circle((0, 0), 0.045, INK)
    paper.circle(tip, 0.045, PAPER)
    sweep = np.clip(torque / strongest, -1, 1) * 0.75 * np.pi
    if abs(sweep) > 0.1:
        angles = np.linspace(0, sweep, 40) + np.pi / 2 - sweep / 2
        arc = 0.3 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        paper.line(arc, 0.035, INK)
        head = np.array([(-0.06, -0.02), (0.06, -0.02), (0, 0.1)])
        if sweep < 0:
            head = head * (1, -1)
        paper.polygon(arc[-1] + head @ rotation(angles[-1]).T, INK)
    return paper.pixels()


def mountain_car(goal):
    """A car in the valley `0.45 sin(3x) + 0.55`, and a flag at `goal` unless the parameters set it."""

    def draw(state, obs, *, goal_position=goal, **_):
        x, flag_x = numbers(state.position, goal_position)

        def ground(x):
            return np.stack([x, np.sin(3 * x) * 0.45 + 0.55], axis=-1)

        paper = Paper(400, 270, scale=190, origin=(260, 250))
        hill = ground(np.linspace(-1.45, 0.8, 200))
        paper.polygon([(-1.45, -1), *hill, (0.8, -1)], SHADE)
        paper.line(hill, 0.012, LINE)
        foot = ground(np.float64(flag_x))
        flag = foot + np.array([(0, 0.245), (0, 0.155), (0.11, 0.2)])
        paper.line([foot, flag[0]], 0.012, INK)
        paper.polygon(flag, ORANGE)
        slope = math.atan(1.35 * math.cos(3 * x))
        turn = rotation(slope)
        paper.box(ground(np.float64(x)) + turn @ (0, 0.085), (0.19, 0.07), BLUE, slope)
        paper.box(ground(np.float64(x)) + turn @ (-0.01, 0.135), (0.1, 0.05), SKY, slope)
        for wheel in (-0.055, 0.055):
            paper.circle(ground(np.float64(x)) + turn @ (wheel, 0.04), 0.036, INK)
        return paper.pixels()

    return draw


def point_robot(state, obs, *, circle_radius=1.0, goal_radius=0.2, **_):
    """The point, the half circle on which goals lie, and the rewarded area around the goal."""
    radius, near = numbers(circle_radius, goal_radius)
    paper = Paper(400, 240, scale=135 / radius, origin=(200, 190))
    angles = np.linspace(0, np.pi, 100)
    paper.line(radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1), 0.015 * radius, LINE)
    paper.circle(np.asarray(state.goal), near, YELLOW)
    paper.circle(np.asarray(state.pos), 0.05 * radius, BLUE)
    return paper.pixels()


def deceptive_maze(state, obs, *, radius=0.15, **_):
    """The walls, the goal with its radius, and the point."""
    from jaxrl.envs.misc.deceptive_maze import GOAL, LEVEL, UPRIGHT

    (radius,) = numbers(radius)
    paper = Paper(300, 300, scale=140, origin=(150, 150))
    paper.line([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)], 0.02, LINE)
    paper.circle(GOAL, radius, YELLOW)
    for x, low, high in UPRIGHT:
        paper.line([(x, low), (x, high)], 0.03, INK)
    for y, low, high in LEVEL:
        paper.line([(low, y), (high, y)], 0.03, INK)
    paper.circle(np.asarray(state.pos), 0.05, BLUE)
    return paper.pixels()


def reacher(state, obs, **_):
    """Links of length 1, each with its angle anticlockwise from the right; the dot is the target."""
    links = np.stack([direction(angle) for angle in np.asarray(state.angles).tolist()])
    joints = np.concatenate([np.zeros((1, 2)), np.cumsum(links, axis=0)])
    paper = Paper(320, 320, scale=145 / len(links), origin=(160, 160))
    thick = 0.08 * len(links)
    paper.circle(np.asarray(state.goal_xy), thick, YELLOW)
    for number, pair in enumerate(pairwise(joints)):
        paper.line(pair, thick, SKY if number % 2 else BLUE)
    for joint in joints[:-1]:
        paper.circle(joint, 0.3 * thick, PAPER)
    paper.circle(joints[-1], 0.3 * thick, INK)
    return paper.pixels()


def swimmer(state, obs, **_):
    """The swimmer, the urchins to avoid, and the target; distant objects are outside the image."""
    paper = Paper(320, 320, scale=100, origin=(160, 160))
    paper.box((0, 0), (2.0, 2.0), SHADE)
    paper.circle(np.asarray(state.goal_xy), 0.09, YELLOW)
    for urchin in np.asarray(state.urchin_xys):
        paper.circle(urchin, 0.12, PURPLE)
    paper.circle(np.asarray(state.xy), 0.06, GREEN)
    return paper.pixels()
