"""What the parameters of environments mean, for help texts, where the function's docstring does not say it.

That is so for the environments of other libraries, whose parameters are theirs, and for parameters that are
named after what they are. A text holds for a parameter in all environments whose names match a pattern.
"""

import fnmatch
from collections.abc import Callable
from typing import Any

from jaxrl.envs.entry import explanations

POLES = {
    "gravity": "gravitational acceleration [m/s^2]",
    "masscart": "mass of the cart [kg]",
    "masspole": "mass of the pole [kg]",
    "length": "from the axle to the pole's middle, half of the pole [m]",
    "force_mag": "force of a push [N]",
    "tau": "length of a step [s]",
    "theta_threshold_radians": "angle of the pole at which the episode ends [rad]",
    "x_threshold": "distance from the middle at which the episode ends [m]",
    "move_cost": "cost of a push",
}
CARS = {
    "min_action": "lowest action",
    "max_action": "highest action",
    "min_position": "left end of the track",
    "max_position": "right end of the track",
    "goal_position": "position of the goal",
    "goal_velocity": "lowest velocity at the goal, in units of position per step",
    "max_speed": "highest speed, in units of position per step",
    "force": "what a push adds to the velocity in one step",
    "power": "what an action of 1 adds to the velocity in one step",
    "gravity": "what the steepest slope adds to the velocity in one step",
    "horizon": "number of steps of an episode",
}
MINATAR = {
    "ramping": "whether the game becomes faster with time",
    "ramp_interval": "steps until it becomes faster",
    "init_spawn_speed": "steps between new enemies at the start",
    "init_move_interval": "steps between the moves of enemies at the start",
    "shot_cool_down": "steps between two shots of the player",
    "player_speed": "steps between two moves of the player",
    "enemy_move_interval": "steps between the moves of enemies; in SpaceInvaders at the start",
    "enemy_shot_interval": "steps between the shots of an enemy",
    "diver_spawn_speed": "steps between new divers",
    "diver_move_interval": "steps between the moves of divers",
    "max_oxygen": "steps under water until the oxygen is used up",
    "use_minimal_action_set": "only actions that have an effect, instead of six",
}
BSUITE = {
    "rows": "number of rows of the board",
    "columns": "number of columns of the board",
    "size": "number of rows and columns of the board",
    "unscaled_move_cost": "cost of going right in all steps of an episode",
    "deterministic": "whether going right never fails and rewards have no noise",
    "randomize_actions": "whether the action that goes right differs from cell to cell",
    "sample_action_map": "draw these actions in every reset",
    "memory_length": "steps for which the bits must be remembered",
    "num_bits": "number of bits to remember",
    "chain_length": "number of steps of an episode",
    "n_distractor": "number of random bits in the observation",
    "num_actions": "number of arms",
    "n_actions": "number of chains",
    "mapping_seed": "number of the best chain",
    "optimal_return": "return of an optimal policy, from which regret is computed",
    "fraction": "fraction of the images that are used",
    "noise_scale": "standard deviation of noise that is added to rewards",
    "reward_scale": "factor of rewards",
}
TABULAR = {
    "observation": '"one_hot" or "index"',
    "num_states": "number of states",
    "num_actions": "number of actions",
    "branching": "number of possible next states of a state and an action",
    "density": "fraction of the pairs of state and action that have a reward",
    "seed": "of the random process",
    "small": "the small reward",
    "large": "the large reward",
    "slip": "probability that the other action is executed",
}
BRAX = {
    "ctrl_cost_weight": "weight of the cost of actions, their squared norm",
    "forward_reward_weight": "weight of the reward for moving forward",
    "healthy_reward": "reward of a step in which the body is upright",
    "terminate_when_unhealthy": "whether the episode ends when the body is not upright",
    "use_contact_forces": "observe contact forces; not supported by brax",
    "contact_cost_weight": "weight of the cost of contact forces",
    "reset_noise_scale": "size of the noise of initial positions and velocities",
    "exclude_current_positions_from_observation": "do not observe the position in the plane",
}
# By patterns of names; of several that match, the last one counts.
TEXTS: dict[str, dict[str, str]] = {
    "*CartPole*": POLES,
    "*MountainCar*": CARS,
    "*-MinAtar": MINATAR,
    "*-bsuite*": BSUITE,
    "CartPole*-bsuite*": POLES
    | {"x_threshold": "distance from the middle beyond which there is no reward [m]"},
    "CartPoleSwingup-bsuite*": {"x_threshold": "distance from the middle at which the episode ends [m]"},
    "world/*": TABULAR,
    "world/chain": {
        "length": "number of states",
        "small": "reward of going back",
        "large": "reward at the end",
    },
    "world/loop": {
        "length": "steps of the loop",
        "small": "reward of staying",
        "large": "reward of the loop",
    },
    "world/river-swim": {
        "up": "probability that swimming upstream moves one state up",
        "down": "probability that swimming upstream moves one state down",
        "small": "reward at the lower end",
        "large": "reward at the upper end",
    },
    "world/grid": {
        "level": "name of the level",
        "seed": "of the level's random parts",
        "observation": '"one_hot", "index" or "planes"',
    },
    "brax/*": BRAX,
    "gymnax/Pendulum-v1": {
        "max_speed": "highest angular velocity [rad/s]",
        "max_torque": "largest torque [N m]",
        "dt": "length of a step [s]",
        "g": "gravitational acceleration [m/s^2]",
        "m": "mass of the pendulum [kg]",
        "l": "length of the pendulum [m]",
    },
    "gymnax/Acrobot-v1": {
        "dt": "length of a step [s]",
        **{f"link_length_{i}": f"length of link {i} [m]" for i in (1, 2)},
        **{f"link_mass_{i}": f"mass of link {i} [kg]" for i in (1, 2)},
        **{f"link_com_pos_{i}": f"from the joint of link {i} to its centre of mass [m]" for i in (1, 2)},
        "link_moi": "moment of inertia of both links [kg m^2]",
        **{f"max_vel_{i}": f"highest angular velocity of joint {i} [rad/s]" for i in (1, 2)},
        "torque_noise_max": "largest noise that is added to the torque [N m]",
    },
    "FrozenLake*": {"success_rate": "probability that a step on slippery ice goes where it should"},
    "gymnax/FrozenLake*": {
        "is_slippery": "whether a step may go to a side",
        "success_rate": "probability that a step on slippery ice goes where it should",
    },
    "Taxi-*": {
        "rainy_probability": "probability that a move in the rain goes straight",
        "fickle_probability": "probability that a fickle passenger changes the destination",
    },
    "*FourRooms-misc": {
        "fail_prob": "probability of moving in another direction",
        "resample_init_pos": "draw the start in every reset",
        "resample_goal_pos": "draw the goal in every reset",
        "use_visual_obs": "observe planes of walls, agent and goal instead of positions",
    },
    "*Pong-misc": {
        "width": "number of columns of the field",
        "height": "number of rows of the field",
        "ball_max_y_speed": "highest vertical speed of the ball, in cells per step",
        "ball_x_speed": "horizontal speed of the ball, in cells per step",
        "paddle_y_speed": "speed of the paddles, in cells per step",
        "paddle_half_height": "number of cells of a paddle above and below its centre",
        "use_ai_policy": "whether the opponent follows the ball",
    },
    "*MetaMaze-misc": {
        "reward": "reward at the goal",
        "punishment": "reward for walking into a wall",
        "maze_size": "number of rows and columns, odd",
        "rf_size": "number of rows and columns that are observed, odd",
    },
    "*PointRobot-misc": {
        "max_force": "largest action in each direction",
        "circle_radius": "radius of the circle on which goals lie",
        "goal_radius": "distance from the goal that counts as reaching it",
        "dense_reward": "reward minus the distance to the goal instead of 1 at the goal",
        "center_init": "start in the centre",
    },
    "*Bandit-misc": {
        "reward_prob": "probability of a reward of one arm; the other has one minus that",
        "mean_mu": "mean of the arm's mean reward",
        "sigma_p": "standard deviation of the arm's mean reward",
        "sigma_l": "standard deviation of a reward",
        "min_lim": "the observed time at the start",
        "max_lim": "the observed time at the end",
        "t_max": "step at which the observed time ends",
    },
    "*-misc": {"normalize_time": "observe the time between -1 and 1 instead of the step"},
    "*Reacher-misc": {
        "torque_scale": "angular acceleration of an action of 1",
        "dt": "length of a step [s]",
        "num_joints": "number of joints",
    },
    "*Swimmer-misc": {"dt": "length of a step [s]", "num_urchins": "number of sea urchins to avoid"},
    "probe/memory": {"delay": "steps after which the cue must be recalled"},
}


def texts(name: str, make: Callable[..., Any]) -> dict[str, str]:
    """The meaning of each parameter of an environment, as far as it is known.

    Args:
      make: of the environment, whose docstring comes first.
    """
    found: dict[str, str] = {}
    for pattern, its in TEXTS.items():
        if fnmatch.fnmatchcase(name, pattern):
            found |= its
    common = {
        "max_steps": "episodes are truncated after so many steps",
        "resets": "where new episodes start, see docs/environments.md",
    }
    return found | explanations(make) | common
