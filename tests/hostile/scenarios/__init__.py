"""Every scenario, and what plimsoll is known not to count right in it."""

import collections

from scenarios import calm, marathon, names, outages, restarts

Known = collections.namedtuple("Known", "reason allows")


class Scenario:
    def __init__(self, play, live_restore=False, long=False, warms_up=True):
        self.name = play.__name__
        self.play = play
        self.known = KNOWN.get(self.name)
        self.live_restore = live_restore
        self.long = long
        self.warms_up = warms_up


def missing_near_deaths(stage, found):
    """Of what happened near a death of dockerd some may be missing; a kill may be told as one of the other scope."""
    near, missing = collections.Counter(), collections.defaultdict(list)
    for (what, container, _), count in stage.truth.near(stage.docker.deaths).items():
        near[what, container] += count
    for different in found:
        missing[different.what, different.container].append(different.true - different.counted)
    return all(
        0 <= sum(counts) and sum(map(abs, counts)) <= near[key] for key, counts in missing.items()
    )


def under_another_name(stage, found):
    """None is missing, and the name is that of the reading which showed it."""
    return all(different.what == "kills" for different in found) and not sum(
        different.true - different.counted for different in found
    )


def some_of_bursts(stage, found):
    """Children's that came so quickly after one another that Docker told of them as of one."""
    quick = stage.truth.quick()
    return all(
        (one.what, one.label) == ("kills", "child") and 0 < one.true - one.counted <= quick[one.container]
        for one in found
    )


# What docs/configuration.md names, at `plimsoll_oom_total`.
KNOWN = {
    "renamed": Known("of quick kills some go by the name of the reading that shows them", under_another_name),
    "restarts_among_kills": Known("of bursts around starts of plimsoll some kills are missed", some_of_bursts),
    "docker_dies": Known("kills near a death of dockerd are missed", missing_near_deaths),
    "both_die": Known("what happens while both are dead is missed", missing_near_deaths),
    "both_die_at_a_start": Known("what happens while both are dead is missed", missing_near_deaths),
    "docker_dies_and_restores": Known("what happens while both are dead is missed", missing_near_deaths),
}

SCENARIOS = [
    Scenario(calm.quiet),
    Scenario(calm.reasons),
    Scenario(calm.bursts),
    Scenario(calm.quick_loops),
    Scenario(calm.paused, long=True),
    Scenario(calm.parent_full, long=True),
    Scenario(restarts.restarts_among_kills),
    Scenario(restarts.restarts_around_starts),
    Scenario(restarts.restarts_in_a_row, long=True),
    Scenario(restarts.first_start, warms_up=False),
    Scenario(restarts.away, long=True),
    Scenario(names.renamed),
    Scenario(names.swapped, long=True),
    Scenario(names.storm),
    Scenario(outages.docker_hangs),
    Scenario(outages.docker_dies),
    Scenario(outages.both_die, long=True),
    Scenario(outages.both_die_at_a_start, long=True),
    Scenario(outages.docker_dies_and_restores, live_restore=True, long=True),
    Scenario(marathon.marathon, long=True),
]
