"""Conversion of the states of Asterix and Seaquest to and from MinAtar's."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.min_atar import asterix, common, seaquest
from originals.min_atar_games import Game

# --- Asterix -------------------------------------------------------------------------------------

_ASTERIX_SAME = [
    *("player_x", "player_y", "spawn_timer", "spawn_speed"),
    *("move_timer", "move_speed", "ramp_timer", "ramp_index"),
]


class _AsterixRandom:
    """The original draws a side, a kind and, if there is one, a free row."""

    def __init__(self, draws):
        _, from_left, is_gold, self.choice = draws
        self.numbers = [0.25 if from_left else 0.75, 0.25 if is_gold else 0.75]

    def rand(self):
        return self.numbers.pop(0)

    def randint(self, num_free):
        assert not self.numbers
        return self.choice * num_free >> 24


def _digits(number):
    return [int(number) >> 4 * i & 15 for i in range(8)]


def _write_asterix(minatar, state):
    for name in _ASTERIX_SAME:
        setattr(minatar, name, state[name])
    objects = zip(*[_digits(state[name]) for name in ("present", "columns", "right", "gold")])
    minatar.entities = [
        [x, row, bool(right), bool(gold)] if present else None
        for row, (present, x, right, gold) in enumerate(objects, start=1)
    ]


def _read_asterix(minatar):
    present, columns, right, gold = 0, 0, 0, 0
    for row, thing in enumerate(minatar.entities, start=1):
        if thing is not None:
            x, its_row, to_right, is_gold = thing
            assert its_row == row
            present |= 1 << 4 * (row - 1)
            columns |= x << 4 * (row - 1)
            right |= to_right << 4 * (row - 1)
            gold |= is_gold << 4 * (row - 1)
    same = {name: getattr(minatar, name) for name in _ASTERIX_SAME}
    return dict(present=present, columns=columns, right=right, gold=gold, **same)


def _play_asterix(num_actions):
    return lambda key, state: jax.random.randint(key, (), 0, num_actions)


def _vary_asterix(ramping):
    def vary(key, state):
        """Any number of objects anywhere, often in all rows but one; any speed, near the next change."""
        keys = jax.random.split(key, 12)
        whole = [
            jax.random.randint(k, (), low, high)
            for k, low, high in zip(keys, (0, 1, 0, 0, 0, 0), (10, 9, 14, 10, 5, 6))
        ]
        player_x, player_y, ramp_index, spawn_timer, move_timer, ramp_timer = whole
        ramp_index *= ramping
        place = 4 * jnp.arange(8, dtype=jnp.uint32)

        def number(digits):
            return jnp.sum(digits.astype(jnp.uint32) << place, dtype=jnp.uint32)

        share = jnp.array([0.1, 0.5, 0.9, 1.0])[jax.random.randint(keys[6], (), 0, 4)]
        present = jax.random.bernoulli(keys[7], share, (8,))
        near = player_x + jax.random.randint(keys[8], (8,), -2, 3)
        anywhere = jax.random.randint(keys[8], (8,), 0, 10)
        columns = jnp.where(jax.random.bernoulli(keys[11]), jnp.clip(near, 0, 9), anywhere) * present
        spawn_speed = jnp.maximum(10 - ramp_index, 1)
        move_speed = 5 - jnp.minimum(ramp_index // 2, 4)
        return state.replace(
            player_x=player_x,
            player_y=player_y,
            columns=number(columns),
            present=number(present),
            right=number(present & jax.random.bernoulli(keys[9], 0.5, (8,))),
            gold=number(present & jax.random.bernoulli(keys[10], 0.5, (8,))),
            spawn_timer=jnp.minimum(spawn_timer, spawn_speed - 1),
            spawn_speed=spawn_speed,
            move_timer=jnp.minimum(move_timer, move_speed - 1),
            move_speed=move_speed,
            ramp_timer=ramp_timer - 1,
            ramp_index=ramp_index,
        )

    return vary


def _asterix(actions, ramping):
    return Game(
        name="asterix",
        module=asterix,
        actions=actions,
        options={"ramping": ramping},
        original={"difficulty_ramping": ramping},
        write=_write_asterix,
        read=_read_asterix,
        random=_AsterixRandom,
        policy=_play_asterix(len(actions)),
        vary=_vary_asterix(ramping),
    )


# --- Seaquest ------------------------------------------------------------------------------------

_SEAQUEST_SAME = [
    *("oxygen", "diver_count", "sub_x", "sub_y"),
    *("surface", "move_speed", "shot_timer", "ramp_index"),
]


class _SeaquestRandom:
    """The original draws a side, a kind and a row of an enemy; then a side and a row of a diver."""

    def __init__(self, draws):
        _, *self.enemy, self.diver_from_left, self.diver_y = draws
        self.numbers, self.rows = [], []

    def of_enemy(self):
        from_left, is_sub, y = self.enemy
        self.numbers = [0.25 if from_left else 0.75, 0.25 if is_sub else 0.75]
        self.rows = [y]

    def of_diver(self):
        self.numbers = [0.25 if self.diver_from_left else 0.75]
        self.rows = [self.diver_y]

    def rand(self):
        return self.numbers.pop(0)

    def randint(self, low, high):
        assert (low, high) == (1, 9) and not self.numbers
        return self.rows.pop(0)


def _patch_spawns(minatar):
    """Informs the replacement of the random numbers whether an enemy or a diver is drawn."""
    for spawn, of in (("_spawn_enemy", "of_enemy"), ("_spawn_diver", "of_diver")):
        if spawn in vars(minatar):
            return
        original = getattr(minatar, spawn)

        def wrapped(original=original, of=of):
            getattr(minatar.random, of)()
            original()

        setattr(minatar, spawn, wrapped)


def _write_seaquest(minatar, state):
    _patch_spawns(minatar)
    for name in _SEAQUEST_SAME:
        setattr(minatar, name, state[name])
    minatar.sub_or = state["sub_right"]
    minatar.e_spawn_timer, minatar.e_spawn_speed = state["spawn_timer"], state["spawn_speed"]
    minatar.d_spawn_timer = state["diver_timer"]

    friendly = [(0, state["surface_bullets"]), *enumerate(state["bullets"].tolist(), start=1)]
    minatar.f_bullets = [bullet for row, bits in friendly for bullet in _list_bullets(row, bits)]
    hostile = enumerate(state["enemy_bullets"].tolist(), start=1)
    minatar.e_bullets = [bullet for row, bits in hostile for bullet in _list_bullets(row, bits)]

    # Within a row the first to move was created first; the order across rows has no meaning.
    minatar.e_fish, minatar.e_subs = [], []
    words = (state["enemies"] | state["slow_enemies"].astype(np.int64) << 30).T.tolist()
    for row, word in enumerate(words, start=1):
        right = bool(state["right"][row - 1])
        for timer in range(6):
            for x in range(10):
                code = sum((plane >> 10 * timer + x & 1) << i for i, plane in enumerate(word))
                if code == 12:
                    minatar.e_fish.append([x, row, right, timer])
                elif code:
                    shot_timer = (code - state["clock"] - 1) % 11
                    minatar.e_subs.append([x, row, right, timer, shot_timer])

    timer = (state["diver_timer"] + 5) % 6
    minatar.divers = [
        [state[f"{which}_x"], state[f"{which}_y"], state[f"{which}_right"], timer]
        for which in ("older", "diver")
        if state[f"{which}_y"]
    ]
    minatar.clock = state["clock"] % 11 + 1  # its next value


def _list_bullets(row, bits):
    return [[place % 10, row, place < 10] for place in range(20) if bits >> place & 1]


def _read_seaquest(minatar):
    clock = getattr(minatar, "clock", 1)
    bullets, enemy_bullets = np.zeros(9, int), np.zeros(9, int)
    for board, some in ((bullets, minatar.f_bullets), (enemy_bullets, minatar.e_bullets)):
        for x, row, right in some:
            board[row] |= 1 << (x if right else 10 + x)

    enemies, right = np.zeros((2, 4, 8), int), np.zeros(8, bool)
    fish = [(*one, 12) for one in minatar.e_fish]
    subs = [(*one, 1 + (shot_timer + clock) % 11) for *one, shot_timer in minatar.e_subs]
    for x, row, to_right, timer, code in fish + subs:
        half, place = timer // 3, 10 * (timer % 3) + x
        assert not (enemies[half, :, row - 1] >> place & 1).any(), "two enemies of one cell and timer"
        for i in range(4):
            enemies[half, i, row - 1] |= (code >> i & 1) << place
        right[row - 1] = to_right

    timer = minatar.d_spawn_timer
    divers = dict.fromkeys(["diver", "older"], (0, 0, False))
    for x, row, to_right, diver_timer in minatar.divers:
        assert diver_timer == (timer + 5) % 6
        covered = x if to_right else 9 - x
        which = "diver" if covered == (30 - timer) // 6 else "older"
        assert divers[which][1] == 0
        divers[which] = (x, row, to_right)
    columns = {
        f"{which}_{name}": v for which in divers for name, v in zip(("x", "y", "right"), divers[which])
    }
    same = {name: getattr(minatar, name) for name in _SEAQUEST_SAME}
    return dict(
        sub_right=minatar.sub_or,
        bullets=bullets[1:],
        surface_bullets=bullets[0],
        enemy_bullets=enemy_bullets[1:],
        enemies=enemies[0],
        slow_enemies=enemies[1],
        right=right,
        clock=clock,
        spawn_timer=minatar.e_spawn_timer,
        spawn_speed=minatar.e_spawn_speed,
        diver_timer=timer,
        **columns,
        **same,
    )


def play_seaquest(key, state):
    """Shoots along its row, collects divers, surfaces if necessary or, often, where that is safe."""
    which_key, action_key = jax.random.split(key)
    mostly = jax.random.uniform(which_key)
    anything = jax.random.randint(action_key, (), 0, 6)
    towards_row = jnp.where(state.diver_y < state.sub_y, 2, 4)
    towards = jnp.where(state.diver_x < state.sub_x, 1, 3)
    fetch = jnp.where(state.diver_y == state.sub_y, towards, towards_row)
    fetch = jnp.where(state.diver_y > 0, fetch, anything)
    up = (state.diver_count == 6) | (state.diver_count > 0) & (state.oxygen < 40) | (state.diver_count < 0)
    wanted = jnp.where(up & (state.sub_y > 0), 2, jnp.where(state.sub_y == 0, 4, fetch))
    return jnp.where(mostly < 0.45, wanted, jnp.where(mostly < 0.75, 5, anything))


def _vary_seaquest(key, state):
    """Water that filled up while the player was at the surface, at any difficulty; then it dives."""
    keys = jax.random.split(key, 16)
    surfaced = jax.random.randint(keys[0], (), 0, 20)
    surfaced = jnp.where(jax.random.bernoulli(keys[1], 0.5), 19, surfaced)
    state = state.replace(
        spawn_speed=20 - surfaced,
        move_speed=5 - jnp.minimum(surfaced // 2, 3),
        ramp_index=surfaced,
        spawn_timer=jax.random.randint(keys[2], (), 0, 2),
        diver_timer=jax.random.randint(keys[3], (), 0, 5),
        clock=jax.random.randint(keys[4], (), 1, 12),
    )

    def wait(state, key):
        options = dict(actions=common.ALL_ACTIONS, sticky_action_prob=0.0, ramping=False)
        return seaquest.advance(state, 0, seaquest.draw(key), **options)[0], None

    state, _ = jax.lax.scan(wait, state, jax.random.split(keys[5], 31))
    right = jax.random.bernoulli(keys[6])
    y = jax.random.randint(keys[7], (), 0, 9)
    low = jax.random.bernoulli(keys[8], 0.3)
    water = seaquest.observe(state)[1:9]
    free = ~water[:, :, 5] & ~water[:, :, 6]
    shooting, *left = jax.random.bernoulli(keys[10], 0.5, (9,))
    shot = shooting & (jax.random.randint(keys[9], (8, 1), 0, 10) == jnp.arange(10))
    flies = jnp.where(jnp.array(left)[:, None], 10, 0)
    state = state.replace(
        bullets=jnp.sum(
            (shot & free).astype(jnp.uint32) << (jnp.arange(10) + flies), axis=1, dtype=jnp.uint32
        ),
        shot_timer=jnp.where(shooting, 9, state.shot_timer),  # until these are gone: no two may meet
        sub_right=right,
        sub_x=jax.random.randint(keys[11], (), 0, 9) + right,
        sub_y=y,
        surface=y == 0,
        oxygen=jax.random.randint(keys[12], (), 0, jnp.where(low, 4, 201)),
        diver_count=jax.random.randint(keys[13], (), -2, 7),
    )
    # Two divers meet the player, who has room for one.
    x = jnp.where(right, 2, 7)
    meeting = state.replace(
        diver_x=x,
        diver_y=y,
        diver_right=right,
        older_x=x,
        older_y=y,
        older_right=~right,
        diver_timer=jax.random.randint(keys[14], (), 13, 19),
        sub_x=x,
        diver_count=jnp.int32(5),
    )
    meets = (y > 0) & jax.random.bernoulli(keys[15], 0.2)
    return jax.tree.map(lambda a, b: jnp.where(meets, a, b), meeting, state)


def _seaquest(ramping):
    return Game(
        name="seaquest",
        module=seaquest,
        actions=seaquest.MINIMAL_ACTIONS,
        options={"ramping": ramping},
        original={"difficulty_ramping": ramping},
        write=_write_seaquest,
        read=_read_seaquest,
        random=_SeaquestRandom,
        policy=play_seaquest,
        vary=_vary_seaquest,
    )


# --- both ----------------------------------------------------------------------------------------

GAMES = [
    _asterix(asterix.MINIMAL_ACTIONS, True),
    _asterix(common.ALL_ACTIONS, False),
    _seaquest(True),
    _seaquest(False),
]
