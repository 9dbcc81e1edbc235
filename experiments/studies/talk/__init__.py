"""Adversarial Cheap Talk: messages that harm, help or control an agent, evolved over whole training runs.

    max over phi  E over keys [ fitness(victim trained with messages tanh(f_phi(obs))) ]

    harm      minus the return during the victim's training
    help      the return during its training
    control   minus the distance to a goal, when another adversary psi(obs, goal) sends messages to the
              trained victim; phi and psi are evolved together

Lu et al. 2022. https://arxiv.org/abs/2211.11030 The adversary observes what the victim observes, and only
appends to it (`wrappers.cheap_talk`). The victim is PPO with the preset of its environment. All candidates of
a generation have victims with the same keys; every generation has different keys. Axes: `K` candidates, `V`
victims, `M` messages.
"""
