"""Pictures of environment states: geometry, shapes, and GIF files that can be read again."""

from types import SimpleNamespace as State

import jax
import numpy as np
import pytest
from PIL import Image

from jaxrl import envs
from jaxrl.envs import render


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


@pytest.mark.parametrize("name", sorted(render.DRAWINGS))
def test_every_drawing_takes_the_wrapped_state_of_its_environment(name):
    state, timestep = envs.make(name).reset(jax.random.key(0))
    picture = render.frame(name, state, timestep.obs)
    assert picture.dtype == np.uint8
    assert picture.ndim == 3 and picture.shape[2] == 3
    assert min(picture.shape[:2]) >= 160 and max(picture.shape[:2]) <= 400
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) >= 3
    np.testing.assert_array_equal(picture, render.frame(name, state, timestep.obs))


def test_a_pole_with_positive_angle_leans_right():
    for theta, side in ((0.2, 1), (-0.2, -1)):
        picture = draw("CartPole-v1", x=0.0, theta=theta)
        pole, cart = centre(picture, render.ORANGE), centre(picture, render.INK)
        assert np.sign(pole[0] - cart[0]) == side
        assert pole[1] < cart[1]
        slope = np.arctan2(pole[0] - cart[0], cart[1] - pole[1])
        assert abs(slope) < 0.2  # the cart's centre lies below the axle, so the line is steeper


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


def test_a_mountain_car_stands_on_the_hill():
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


def test_cells_stand_where_they_stand_in_the_observation():
    obs = grid((9, 2, 0), (5, 7, 1), (5, 7, 2), (4, 6, 2), (1, 0, 3))
    picture = render.frame("Breakout-MinAtar", State(), obs)
    assert picture.shape == (320, 320, 3)
    cells = picture[16::32, 16::32]
    np.testing.assert_array_equal(cells[9, 2], render.SKY)
    np.testing.assert_array_equal(cells[5, 7], render.YELLOW)  # the ball hides its trail
    np.testing.assert_array_equal(cells[1, 0], render.VERMILLION)
    np.testing.assert_array_equal(cells[0, 0], render.NIGHT)


@pytest.mark.parametrize("name", [name for name in render.DRAWINGS if name.endswith("MinAtar")])
def test_no_two_channels_of_a_game_look_alike(name):
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
def test_what_cannot_be_drawn_is_refused_in_one_line(obs):
    with pytest.raises(ValueError, match=r"brax/ant cannot be drawn: .*CartPole-v1") as caught:
        render.frame("brax/ant", State(), obs)
    assert "\n" not in str(caught.value)


def test_states_that_are_batched_or_not_finite_are_refused():
    with pytest.raises(ValueError, match="one state can be drawn at a time"):
        draw("CartPole-v1", x=np.zeros(3), theta=np.zeros(3))
    with pytest.raises(ValueError, match="not finite"):
        draw("Pendulum-v1", theta=np.nan, last_u=0.0)
    with pytest.raises(ValueError, match="4x4"):
        draw("FrozenLake-misc", position=63)
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
