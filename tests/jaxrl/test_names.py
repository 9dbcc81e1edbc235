"""Errors of look-ups contain the nearest names."""

import pytest

from jaxrl.names import lookup, nearest

GAMES = {"CartPole-v1": 1, "Pendulum-v1": 2, "Breakout-MinAtar": 3}


def test_a_known_name_is_found():
    assert lookup("environment", GAMES, "Pendulum-v1") == 2


@pytest.mark.parametrize("slip", ["cartpole-v1", "CartPol-v1", "CARTPOLE"])
def test_a_misspelt_name_gets_the_nearest_name(slip):
    with pytest.raises(ValueError, match="unknown environment") as error:
        lookup("environment", GAMES, slip)
    assert repr(slip) in str(error.value)
    assert "the nearest: CartPole-v1" in str(error.value)
    assert "Breakout" not in str(error.value)
    assert "\n" not in str(error.value)


def test_the_best_match_comes_first_and_there_are_three_at_most():
    names = ["ant", "ante", "antes", "antler", "zebra"]
    assert nearest("ante", names) == "the nearest: ante, antes, ant"


def test_an_unrelated_name_gets_the_list_of_names():
    assert nearest("qqqq", GAMES) == "there are Breakout-MinAtar, CartPole-v1, Pendulum-v1"
    many = [f"name{i:02}" for i in range(23)]
    shown = ", ".join(many[:20])
    assert nearest("qqqq", reversed(many)) == f"there are {shown} and 3 more"
    assert nearest("qqqq", many[:20]) == f"there are {shown}"


def test_names_that_differ_in_case_only_are_one_suggestion():
    assert nearest("Tree", ["TREE", "tree"]) in ("the nearest: TREE", "the nearest: tree")
