"""Images of environment states: geometry, shapes, and readable GIF files."""

import base64
import json
import re
import zlib
from operator import itemgetter
from types import SimpleNamespace as State

import jax
import numpy as np
import pytest
from PIL import Image

from jaxrl import envs
from jaxrl.envs import families, render
from jaxrl.envs.wrappers import frame_stack
from jaxrl.experiments import runs
from jaxrl.experiments.commands import render as render_command
from jaxrl.spaces import sample


def centre(picture, colour, tolerance=12):
    """Mean (x, y) in pixels of what has this colour, y downwards."""
    distance = np.abs(picture.astype(int) - np.array(colour)).max(axis=-1)
    y, x = np.nonzero(distance <= tolerance)
    assert len(x), f"no pixel is {colour}"
    return np.array([x.mean(), y.mean()])


def draw(name, obs=None, **fields):
    return render.frame(name, State(**fields), obs)


def grid(*cells, shape=(10, 10, 4)):
    obs = np.zeros(shape, np.float32)
    for cell in cells:
        obs[cell] = 1
    return obs


OURS = [n for n, e in envs.REGISTRY.items() if e.origin == "jaxrl" and not n.startswith("probe/")]
UNDRAWN = ("SimpleBandit-bsuite", "SimpleBandit-bsuite/noise", "SimpleBandit-bsuite/scale")  # no state
GYMNAX = [f"gymnax/{n}" for n in render.DRAWINGS if f"gymnax/{n}" in envs.REGISTRY]


def play(env, num_steps):
    """States and observations, one pair per step and one before, under random actions."""

    def step(carry, key):
        step_key, action_key = jax.random.split(key)
        state, _ = carry
        state, timestep = env.step(step_key, state, sample(env.action_space, action_key))
        return (state, timestep.obs), (state, timestep.obs)

    @jax.jit
    def both(key):
        state, timestep = env.reset(key)
        first = state, timestep.obs
        _, rest = jax.lax.scan(step, first, jax.random.split(key, num_steps))
        return jax.tree.map(lambda a, b: jax.numpy.concatenate([a[None], b]), first, rest)

    def on_host(x):  # keys are no numbers
        return x if jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key) else np.asarray(x)

    result = jax.tree.map(on_host, both(jax.random.key(1)))
    return [jax.tree.map(itemgetter(t), result) for t in range(num_steps + 1)]


def is_picture(picture):
    assert picture.dtype == np.uint8
    assert picture.ndim == 3 and picture.shape[2] == 3
    assert min(picture.shape[:2]) >= 60 and max(picture.shape[:2]) <= 400
    colours = picture.astype(np.int32) @ (1, 256, 65536)  # numbers, which are sorted much faster than rows
    assert len(np.unique(colours)) >= 3


@pytest.mark.parametrize("game", sorted({render._plain(name) for name in OURS} - {*UNDRAWN}))
def test_every_environment_of_ours_is_drawn_under_all_its_names(game):
    name, *others = [name for name in OURS if render._plain(name) == game]
    moments = play(envs.make(name), 12)
    pictures = [render.frame(name, state, obs) for state, obs in moments]
    for picture in pictures:
        is_picture(picture)
        assert picture.shape == pictures[0].shape
    assert any((picture != pictures[0]).any() for picture in pictures)
    for other in others:
        np.testing.assert_array_equal(pictures[-1], render.frame(other, *moments[-1]))


@pytest.mark.parametrize("name", UNDRAWN)
def test_a_bandit_cannot_be_drawn(name):
    state, timestep = envs.make(name).reset(jax.random.key(0))
    with pytest.raises(ValueError, match=f"{name} cannot be drawn: drawings exist for"):
        render.frame(name, state, timestep.obs)


# Those that take the longest to compile; the games are drawn by the same code as ours.
LONG = ("Seaquest", "Freeway", "Asterix")


@pytest.mark.parametrize(
    "name", [pytest.param(x, marks=[pytest.mark.slow] * any(game in x for game in LONG)) for x in GYMNAX]
)
def test_environments_of_gymnax_are_drawn_too(name):
    state, timestep = jax.jit(envs.make(name).reset)(jax.random.key(1))
    is_picture(render.frame(name, state, timestep.obs))  # a step has the same fields


def test_every_drawing_is_of_a_registered_environment():
    assert not {*render.DRAWINGS} - {*envs.REGISTRY}
    assert len(GYMNAX) >= 20


def test_parameters_change_the_drawing():
    def pole(**params):
        picture = render.frame("CartPole-v1", State(x=0.0, theta=0.0), None, params)
        y, _ = np.nonzero(np.abs(picture.astype(int) - render.ORANGE).max(axis=-1) <= 12)
        return np.ptp(y)

    assert pole(length=0.25) == pytest.approx(pole() / 2, abs=5)
    drawn = envs.family("CartPole-v1", length=families.uniform(0.2, 0.3))
    state, timestep = drawn.reset(jax.random.key(0))
    inside = render.frame("CartPole-v1", state, timestep.obs)
    y, _ = np.nonzero(np.abs(inside.astype(int) - render.ORANGE).max(axis=-1) <= 12)
    assert np.ptp(y) == pytest.approx(pole(length=0.25), rel=0.3)

    lake = render.frame("FrozenLake-v1", State(position=63), None, {"map_name": "8x8"})
    np.testing.assert_array_equal(lake, draw("FrozenLake8x8-v1", position=63))
    assert render.frame("FrozenLake-v1", State(position=0), None, {"desc": ["SFG"]}).shape == (64, 192, 3)
    assert render.frame("world/chain", State(index=7), None, {"length": 8}).shape == (49, 392, 3)


def test_a_state_that_the_parameters_do_not_have_is_refused():
    for name, fields in {
        "FrozenLake-v1": dict(position=16),
        "world/chain": dict(index=5),
        "world/loop": dict(index=6),
        "world/t-maze": dict(position=11, north=True),
        "world/grid": dict(cell=0, exists=np.ones(7, bool)),
        "MemoryChain-bsuite": dict(context=np.ones(1), query=0, time=7),
    }.items():
        with pytest.raises(ValueError, match="pass the"):
            draw(name, **fields)


def test_a_pole_with_positive_angle_leans_right():
    for theta, side in ((0.2, 1), (-0.2, -1)):
        picture = draw("CartPole-v1", x=0.0, theta=theta)
        pole, cart = centre(picture, render.ORANGE), centre(picture, render.INK)
        assert np.sign(pole[0] - cart[0]) == side
        assert pole[1] < cart[1]
        slope = np.arctan2(pole[0] - cart[0], cart[1] - pole[1])
        assert abs(slope) < 0.2  # the centre of the cart is below the axle, so the line is steeper


def test_a_cart_moves_right_with_x_and_stays_in_the_picture_at_its_limit():
    left, middle, right = (
        centre(draw("CartPole-v1", x=x, theta=0.0), render.INK)[0] for x in (-2.4, 0.0, 2.4)
    )
    assert middle == pytest.approx(199.5, abs=1)
    assert right - middle == pytest.approx(middle - left, abs=1)  # so neither is cut off
    assert right - middle == pytest.approx(2.4 * 73, abs=2)


@pytest.mark.parametrize(
    ("theta", "direction"), [(0, (0, -1)), (np.pi / 2, (-1, 0)), (np.pi, (0, 1)), (-1.0, None)]
)
def test_a_pendulum_is_upright_at_zero_and_turns_anticlockwise(theta, direction):
    picture = draw("Pendulum-v1", theta=theta, last_u=0.0)
    offset = centre(picture, render.VERMILLION) - (199.5, 149.5)
    expected = direction or (-np.sin(theta), -np.cos(theta))
    np.testing.assert_allclose(offset / np.linalg.norm(offset), expected, atol=0.05)


def test_the_arrow_at_a_pendulum_shows_the_direction_of_the_torque():
    def arrow(torque):
        picture = draw("Pendulum-v1", theta=np.pi, last_u=torque)
        return centre(picture[:140], render.INK)[0] - 199.5  # the rod hangs below

    assert arrow(2.0) < -0.5 < 0.5 < arrow(-2.0)  # the head is the heavier end
    assert draw("Pendulum-v1", theta=0.0, last_u=np.zeros(1)).shape == (300, 400, 3)


def test_an_acrobot_hangs_down_at_zero_and_its_second_angle_adds_to_the_first():
    hanging = draw("Acrobot-v1", joint_angle1=0.0, joint_angle2=0.0)
    np.testing.assert_allclose(centre(hanging, render.BLUE), (199.5, 149.5 + 33), atol=4)
    np.testing.assert_allclose(centre(hanging, render.SKY), (199.5, 149.5 + 99), atol=4)
    bent = draw("Acrobot-v1", joint_angle1=np.pi / 2, joint_angle2=np.pi / 2)
    np.testing.assert_allclose(centre(bent, render.BLUE), (199.5 + 33, 149.5), atol=4)
    np.testing.assert_allclose(centre(bent, render.SKY), (199.5 + 66, 149.5 - 33), atol=4)


def test_a_mountain_car_is_drawn_on_the_hill():
    def car(x):
        return centre(draw("MountainCar-v0", position=x, velocity=0.0), render.BLUE)

    bottom, left, goal = car(-np.pi / 6), car(-1.0), car(0.45)
    assert left[0] < bottom[0] < goal[0]
    assert bottom[1] > left[1] > goal[1]
    for x, point in ((-np.pi / 6, bottom), (-1.0, left), (0.45, goal)):
        ground = 250 - 190 * (np.sin(3 * x) * 0.45 + 0.55)
        assert 5 < ground - point[1] < 25
    flags = [
        centre(draw(name, position=-0.5), render.ORANGE)[0]
        for name in ("MountainCar-v0", "MountainCarContinuous-v0")
    ]
    assert flags[0] - flags[1] == pytest.approx(0.05 * 190, abs=1)


def test_cells_are_drawn_at_their_places_in_the_observation():
    obs = grid((9, 2, 0), (5, 7, 1), (5, 7, 2), (4, 6, 2), (1, 0, 3))
    picture = render.frame("Breakout-MinAtar", State(), obs)
    assert picture.shape == (320, 320, 3)
    cells = picture[16::32, 16::32]
    np.testing.assert_array_equal(cells[9, 2], render.SKY)
    np.testing.assert_array_equal(cells[5, 7], render.YELLOW)  # the ball hides its trail
    np.testing.assert_array_equal(cells[1, 0], render.VERMILLION)
    np.testing.assert_array_equal(cells[0, 0], render.NIGHT)


@pytest.mark.parametrize("name", [name for name in render.DRAWINGS if name.endswith("MinAtar")])
def test_channels_of_a_game_have_distinct_colours(name):
    num_channels = {"Freeway": 7, "Seaquest": 10, "SpaceInvaders": 6}.get(name.split("-")[0], 4)
    channels = range(num_channels)
    pictures = [render.frame(name, State(), grid((4, 4, c), shape=(10, 10, num_channels))) for c in channels]
    colours = np.array([picture[144, 144] for picture in pictures], int)
    distance = np.abs(colours[:, None] - colours).sum(axis=-1) + 1000 * np.eye(num_channels, dtype=int)
    assert distance.min() >= 20


def test_catch_shows_a_ball_that_was_missed_beside_the_paddle():
    fields = {"paddle_x": 2, "paddle_y": 9}
    picture = draw("Catch-bsuite", np.zeros((10, 5)), ball_x=0, ball_y=9, **fields)
    np.testing.assert_allclose(centre(picture, render.ORANGE), (15.5, 9 * 32 + 15.5), atol=1)
    np.testing.assert_allclose(centre(picture, render.SKY), (2 * 32 + 16, 9 * 32 + 16), atol=1)


def test_deep_sea_frozen_lake_and_four_rooms_show_row_and_column():
    sea = draw("DeepSea-bsuite", np.zeros((8, 8)), row=3, column=1)
    np.testing.assert_allclose(centre(sea, render.ORANGE), (40 + 19.5, 120 + 19.5), atol=1)
    ended = draw("DeepSea-bsuite", np.zeros((8, 8)), row=8, column=8)  # as after the last step
    np.testing.assert_allclose(centre(ended, render.ORANGE), (299.5, 299.5), atol=1)

    lake = draw("FrozenLake-misc", position=6)
    np.testing.assert_allclose(centre(lake, render.VERMILLION), (2.5 * 64, 1.5 * 64), atol=1)
    np.testing.assert_allclose(centre(lake, render.YELLOW), (3.5 * 64, 3.5 * 64), atol=2)

    rooms = draw("FourRooms-misc", pos=np.array([4, 1]), goal=np.array([8, 9]))
    np.testing.assert_allclose(centre(rooms, render.SKY), (1.5 * 24, 4.5 * 24), atol=1)
    np.testing.assert_allclose(centre(rooms, render.YELLOW), (9.5 * 24, 8.5 * 24), atol=1)
    walls = (rooms[12::24, 12::24] == render.GREY).all(axis=-1)
    assert walls[0].all() and walls[:, 0].all() and not walls[3, 6] and walls[6, 6]


def cell(picture, row, column, num_rows):
    """The colour in the corner of a cell, outside of a disc in it."""
    size = len(picture) // num_rows
    return tuple(picture[row * size + size // 10 + 1, column * size + size // 10 + 1].tolist())


def middle(picture, row, column, num_rows):
    """The colour in the middle of a cell."""
    size = len(picture) // num_rows
    return tuple(picture[row * size + size // 2, column * size + size // 2].tolist())


def test_the_cliff_is_between_start_and_goal():
    picture = draw("CliffWalking-v1", position=2 * 12 + 5)
    assert middle(picture, 2, 5, 4) == render.VERMILLION
    assert cell(picture, 3, 11, 4) == render.YELLOW
    assert cell(picture, 3, 5, 4) != cell(picture, 2, 5, 4) == cell(picture, 0, 0, 4)


def test_frozen_lakes_holes_are_drawn_at_their_places():
    small, large = draw("FrozenLake-v1", position=0), draw("FrozenLake8x8-v1", position=9)
    assert cell(small, 1, 1, 4) == cell(small, 3, 0, 4) == cell(large, 2, 3, 8)
    assert cell(small, 1, 1, 4) != cell(small, 0, 1, 4) == cell(large, 0, 1, 8)
    assert middle(large, 1, 1, 8) == render.VERMILLION


def test_the_taxi_and_its_passenger():
    def place(row, column):
        return 10 + 62 * (column + 0.5), 10 + 62 * (row + 0.5)

    fields = dict(column=1, destination=1, fickle=False)
    waiting, aboard = (draw("Taxi-v3", row=3, passenger=p, **fields) for p in (2, 4))
    for picture in (waiting, aboard):
        np.testing.assert_allclose(centre(picture, render.ORANGE), place(3, 1), atol=9)
    # The frame of the destination is purple as well: look elsewhere.
    left = waiting[:, :200], aboard[:, :200]
    x, y = place(4, 0)
    np.testing.assert_allclose(centre(left[0], render.PURPLE), (x - 0.26 * 62, y - 0.26 * 62), atol=2)
    np.testing.assert_allclose(centre(left[1], render.PURPLE), place(3, 1), atol=9)
    np.testing.assert_allclose(
        centre(waiting[:90, 100:], render.PURPLE), np.subtract(place(0, 4), (100, 0)), atol=2
    )
    walls = [(waiting[int(place(row, 0)[1]), 10 + 62 * east] == render.INK).all() for row, east in WALLS]
    assert walls == [True, True, True, True, True, True, False, False]


WALLS = [(0, 2), (1, 2), (3, 1), (4, 1), (3, 3), (4, 3), (2, 2), (0, 1)]  # the last two are open


def test_a_hand_that_is_bust_is_red():
    fields = dict(ace=False, untouched=False, shown=10, hidden=5)
    bust, good = (draw("Blackjack-v1", total=total, **fields) for total in (22, 20))
    assert len(np.argwhere((bust == render.VERMILLION).all(axis=-1))) > 1000
    assert not (good == render.VERMILLION).all(axis=-1).any()
    soft = draw("Blackjack-v1", total=8, **{**fields, "ace": True})
    assert (soft != draw("Blackjack-v1", total=18, **fields)).any()  # both have the value 18


def test_a_pole_that_hangs_is_below_its_cart():
    hanging = draw("CartPoleSwingup-bsuite", x=0.0, theta=np.pi)
    assert centre(hanging, render.ORANGE)[1] > centre(hanging, render.INK)[1] + 10
    edges = [centre(draw("CartPole-bsuite", x=x, theta=0.0), render.INK)[0] - 199.5 for x in (-3.0, 0.0, 3.0)]
    np.testing.assert_allclose(edges, (-175, 0, 175), atol=2)


def test_tabular_environments_show_the_position():
    assert middle(draw("world/chain", index=3), 0, 3, 1) == render.VERMILLION
    river = draw("world/river-swim", index=0)
    assert middle(river, 0, 0, 1) == render.VERMILLION and cell(river, 0, 5, 1) == render.YELLOW
    np.testing.assert_allclose(  # a third of the way round, clockwise from the top
        centre(draw("world/loop", index=2), render.VERMILLION), (130 + 86.6, 130 + 50), atol=1
    )
    assert middle(draw("world/garnet", index=13), 2, 1, 6) == render.VERMILLION
    maze = draw("world/t-maze", north=True, position=4)
    assert middle(maze, 1, 4, 3) == render.SKY and cell(maze, 0, 10, 3) == render.YELLOW
    assert cell(draw("world/t-maze", north=False, position=4), 2, 10, 3) == render.YELLOW
    for left in (True, False):
        tiger = draw("world/two-state", np.array([0.0, 1.0]), left=left)
        assert (centre(tiger, render.ORANGE)[0] < 160) == left
        assert centre(tiger, render.PURPLE)[0] > 160  # heard on the right


def test_the_maze_shows_the_point_below_the_goal():
    maze = draw("DeceptiveMaze-misc", pos=np.array([0.5, -0.75]))
    np.testing.assert_allclose(centre(maze, render.BLUE), (150 + 70, 150 + 105), atol=1)
    np.testing.assert_allclose(centre(maze, render.YELLOW), (150, 150 - 112), atol=1)


def test_the_grid_shows_the_level_of_its_parameters():
    params = dict(level="dense", seed=3)
    level = envs.worlds.grid.sample(**params)
    state = State(cell=int(level.start), exists=np.array([True, False, True, True]), time=0)
    picture = render.frame("world/grid", state, None, params)
    assert middle(picture, *divmod(int(level.start), 11), 11) == render.SKY
    colours = [cell(picture, *divmod(int(place), 11), 11) for place in level.objects]
    assert colours == [render.GREEN, render.NIGHT, render.VERMILLION, render.VERMILLION]


def test_chains_of_the_behaviour_suite():
    memory = draw("MemoryChain-bsuite", context=np.array([True]), query=0, time=3)
    assert cell(memory, 0, 0, 2) == render.WHITE and middle(memory, 1, 3, 2) == render.ORANGE
    forgot = draw("MemoryChain-bsuite", context=np.array([False]), query=0, time=3)
    assert cell(forgot, 0, 0, 2) == render.BLUE
    rain = draw("UmbrellaChain-bsuite", need=True, has=True, time=2)
    assert cell(rain, 0, 10, 2) == render.BLUE and cell(rain, 0, 2, 2) == render.PURPLE
    assert middle(rain, 1, 2, 2) == render.VERMILLION
    chain = draw("DiscountingChain-bsuite", context=3, time=50)
    np.testing.assert_allclose(centre(chain, render.VERMILLION), (30 + 175, 20 + 105), atol=1)


def test_meta_mazes_walls_are_gymnaxs():
    from jaxrl.envs import from_gymnax

    maze = from_gymnax._construct("MetaMaze-misc")[0]
    picture = draw("MetaMaze-misc", pos=np.array([1, 1]), goal=np.array([3, 3]))
    size = len(picture) // len(maze.env_map)
    walls = (picture[size // 2 :: size, size // 2 :: size] == render.GREY).all(axis=-1)
    np.testing.assert_array_equal(walls, ~np.asarray(maze.env_map, bool))


@pytest.mark.parametrize("name", ["navix/Navix-DoorKey-6x6-v0", "xminigrid/MiniGrid-DoorKey-6x6"])
def test_boards_of_other_packages_are_drawn_by_their_renderers(name):
    pytest.importorskip(name.partition("/")[0])
    moments = play(envs.make(name), 20)
    pictures = [render.frame(name, state, obs) for state, obs in moments]
    assert {picture.shape for picture in pictures} in ({(288, 288, 3)}, {(318, 318, 3)})
    assert any((picture != pictures[0]).any() for picture in pictures)
    assert pictures[0].max() > 200  # codes taken for bytes would be all but black


def test_pixels_of_craftax_are_shown_as_they_are():
    obs = np.random.default_rng(0).random((130, 110, 3), np.float32)
    picture = render.frame("craftax/Craftax-Pixels-v1", State(), obs)
    np.testing.assert_allclose(picture[::2, ::2], 255 * obs, atol=0.51)


def test_of_stacked_frames_the_last_one_is_drawn():
    raw = envs.REGISTRY["Breakout-MinAtar"].make()
    state, timestep = frame_stack(raw, 3).reset(jax.random.key(0))
    one = render.frame("Breakout-MinAtar", state, timestep.obs[..., -4:])
    np.testing.assert_array_equal(render.frame("Breakout-MinAtar", state, timestep.obs), one)


def test_large_pictures_of_numbers_are_in_colours():
    obs = np.zeros((63, 50, 3), np.float32)
    obs[..., 0], obs[..., 2] = 1.0, 0.5
    assert (render.frame("mine", State(), obs)[::5, ::5] == (255, 0, 128)).all()
    assert (render.frame("mine", State(), obs[:10, :10])[5, 5] != (255, 0, 128)).any()


# --- episodes -----------------------------------------------------------------------------------


def test_an_episode_of_brax_is_a_page():
    env = envs.REGISTRY["brax/inverted_pendulum"].make()
    state, _ = jax.jit(env.reset)(jax.random.key(0))
    wrapped = State(inner=state)
    html = render.page("brax/inverted_pendulum", [state, wrapped, state])
    assert html.lstrip().lower().startswith("<!doctype html>")
    (packed,) = re.findall(r'"([A-Za-z0-9+/=]{200,})"', html)
    system = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert len(system["states"]["x"]) == 3
    with pytest.raises(ValueError, match="CartPole-v1 is not an environment of brax"):
        render.page("CartPole-v1", [state])
    with pytest.raises(ValueError, match="at least one state"):
        render.page("brax/inverted_pendulum", [])


@pytest.mark.parametrize(
    "name, wrong, right", [("brax/ant", "a.gif", ".html"), ("CartPole-v1", "a.html", ".gif")]
)
def test_a_file_of_the_wrong_kind_is_refused_before_anything_is_loaded(
    name, wrong, right, tmp_path, monkeypatch
):
    monkeypatch.setattr(runs, "read_info", lambda path: {"spec": None})
    monkeypatch.setattr(runs, "from_json", lambda spec: State(environment=name))
    with pytest.raises(ValueError, match=f"{name} is shown as .* must end in {right}") as caught:
        render_command.render(tmp_path, tmp_path / wrong, None, 10, False)
    assert "\n" not in str(caught.value)


def test_an_episode_is_shown_to_its_end(monkeypatch):
    monkeypatch.setattr(runs, "evaluation_keys", lambda *_, **__: jax.random.split(jax.random.key(0), 1))
    world, params = render_command._environment(
        State(environment="Catch-bsuite", env={"rows": 6, "max_steps": 50})
    )
    assert params == {"rows": 6}

    def act(memory, key, obs, first, mask):
        return memory, jax.numpy.ones(1, int)

    moments = list(render_command._episode(None, world, act, (), 100))
    assert len(moments) == 6 and bool(moments[-1][1].terminated)
    last = render.frame("Catch-bsuite", moments[-1][0], moments[-1][1].obs, params)
    assert centre(last, render.ORANGE)[1] == pytest.approx(5.5 * len(last) / 6, abs=1)
    cut, _ = render_command._environment(State(environment="Catch-bsuite", env={"max_steps": 2}))
    assert len(list(render_command._episode(None, cut, act, (), 100))) == 3


# --- observations that are images ---------------------------------------------------------------


def test_other_observations_that_are_pictures_are_drawn_channel_by_channel():
    picture = render.frame("mine", State(), grid((0, 3, 11), shape=(4, 5, 12)))
    assert picture.shape == (256, 320, 3)
    assert (picture[32, 3 * 64 + 32] != render.NIGHT).any()
    np.testing.assert_array_equal(picture[96, 96], render.NIGHT)
    assert (render.frame("mine", State(), np.eye(6))[26, 26] == render.WHITE).all()
    assert render.frame("mine", State(), jax.numpy.eye(6, dtype=bool)).shape == (318, 318, 3)


def test_a_picture_in_colours_is_shown_as_it_is():
    pixels = np.random.default_rng(0).integers(256, size=(64, 96, 3), dtype=np.uint8)
    picture = render.frame("mine", State(), pixels)
    np.testing.assert_array_equal(picture[::3, ::3], pixels)


def test_grey_bytes_are_as_bright_as_their_value():
    picture = render.frame("mine", State(), np.array([[0, 255], [128, 255]], np.uint8))
    np.testing.assert_array_equal(picture[32, 96], render.WHITE)
    middle = np.mean([render.NIGHT, render.WHITE], axis=0)
    np.testing.assert_allclose(picture[96, 32], middle, atol=1)


@pytest.mark.parametrize("obs", [np.zeros(4), np.float32(1), {"a": np.zeros((4, 4))}, ()])
def test_environments_without_a_drawing_are_reported_in_one_line(obs):
    with pytest.raises(ValueError, match=r"brax/ant cannot be drawn: .*CartPole-v1") as caught:
        render.frame("brax/ant", State(), obs)
    assert "\n" not in str(caught.value)


def test_states_that_are_batched_or_not_finite_are_refused():
    with pytest.raises(ValueError, match="one state can be drawn at a time"):
        draw("CartPole-v1", x=np.zeros(3), theta=np.zeros(3))
    with pytest.raises(ValueError, match="not finite"):
        draw("Pendulum-v1", theta=np.nan, last_u=0.0)
    with pytest.raises(ValueError, match="4x4"):
        draw("gymnax/FrozenLake-misc", position=63)
    with pytest.raises(ValueError, match="was expected"):
        render.frame("Breakout-MinAtar", State(), np.zeros(400))


def test_a_caption_is_a_strip_below_in_which_long_texts_fit():
    picture = np.zeros((50, 160, 3), np.uint8)
    short, long = (render.caption(picture, text) for text in ("step 3", "step 500   return -1234.56"))
    assert short.shape == long.shape == (50 + render.CAPTION_HEIGHT, 160, 3)
    np.testing.assert_array_equal(short[:50], picture)
    strip = long[52:]
    assert (strip < 128).any()
    assert (strip[:, -4:] == render.PAPER).all()


def moving_square(num_frames, size=40):
    frames = np.full((num_frames, size, size, 3), render.PAPER, np.uint8)
    for i, picture in enumerate(frames):
        picture[10:14, i % (size - 4) : i % (size - 4) + 4] = render.VERMILLION
    return list(frames)


def read(path):
    with Image.open(path) as gif:
        durations, pictures = [], []
        for i in range(gif.n_frames):
            gif.seek(i)
            durations.append(gif.info["duration"])
            pictures.append(np.asarray(gif.convert("RGB")))
        return gif.info.get("loop"), durations, pictures


@pytest.mark.parametrize("fps", [10, 30, 50])
def test_a_gif_has_its_frames_its_duration_and_its_colours(tmp_path, fps):
    frames = moving_square(31)
    render.write_gif(tmp_path / "new" / "a.gif", frames, fps=fps)
    loop, durations, pictures = read(tmp_path / "new" / "a.gif")
    assert loop == 0
    assert len(pictures) == 31
    assert sum(durations) == pytest.approx(1000 * 31 / fps, abs=10)
    for picture, expected in zip(pictures, frames):
        np.testing.assert_array_equal(picture, expected)


def test_a_long_or_fast_gif_leaves_frames_out_but_lasts_as_long(tmp_path):
    for num_frames, fps, most in ((1001, 30, 500), (120, 120, 50)):
        render.write_gif(tmp_path / "a.gif", moving_square(num_frames), fps=fps)
        _, durations, pictures = read(tmp_path / "a.gif")
        assert most / 3 < len(pictures) <= most
        assert sum(durations) == pytest.approx(1000 * num_frames / fps, abs=20)
        assert min(durations) >= 20


def test_a_gif_stays_within_its_size(tmp_path):
    noise = np.random.default_rng(0).integers(256, size=(40, 64, 64, 3), dtype=np.uint8)
    render.write_gif(tmp_path / "a.gif", noise, max_bytes=60_000)
    assert (tmp_path / "a.gif").stat().st_size <= 60_000
    _, durations, pictures = read(tmp_path / "a.gif")
    assert 1 < len(pictures) < 40
    assert sum(durations) == pytest.approx(1000 * 40 / 30, abs=20)


def test_a_gif_of_drawings_keeps_plain_surfaces_plain(tmp_path):
    frames = [render.caption(draw("CartPole-v1", x=0.05 * i, theta=0.02 * i), f"step {i}") for i in range(40)]
    render.write_gif(tmp_path / "a.gif", frames)
    _, _, pictures = read(tmp_path / "a.gif")
    assert len(pictures) == 40
    for picture, expected in zip(pictures, frames):
        for colour in (render.PAPER, render.INK, render.ORANGE, render.LINE):
            plain = (expected == colour).all(axis=-1)
            assert (picture[plain] == colour).all()
        assert np.abs(picture.astype(int) - expected).max() <= 32


def test_frames_that_make_no_gif_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one frame"):
        render.write_gif(tmp_path / "a.gif", [])
    with pytest.raises(ValueError, match="fps must be positive"):
        render.write_gif(tmp_path / "a.gif", moving_square(2), fps=0)
    with pytest.raises(ValueError, match="differ in size"):
        render.write_gif(tmp_path / "a.gif", [np.zeros((4, 4, 3)), np.zeros((4, 5, 3))])
    assert not (tmp_path / "a.gif").exists()


@pytest.mark.parametrize(
    ("name", "obs", "fields", "message"),
    [
        ("CartPole-v1", None, {"theta": 0.1, "theta_dot": 0.0}, "the state or observation does not belong"),
        ("DeepSea-bsuite", np.zeros(64), {"row": 1, "column": 1}, "must be the board"),
        ("Catch-bsuite", np.zeros(50), {"ball_x": 1, "ball_y": 1, "paddle_x": 2}, "must be the board"),
    ],
)
def test_a_state_of_another_environment_is_reported(name, obs, fields, message):
    with pytest.raises(ValueError, match=message) as caught:
        draw(name, obs, **fields)
    assert "\n" not in str(caught.value)
