"""Word lists and published results of the Word Embedding Association Test.

References
----------
Caliskan, Bryson and Narayanan (2017), Semantics derived automatically from language
corpora contain human-like biases, Science 356: word lists of the supplement, effect
sizes of table 1 (GloVe, 840 billion words, 300 dimensions).
"""

from __future__ import annotations

from collections.abc import Container

WORDS = {
    "flowers": "aster clover hyacinth marigold poppy azalea crocus iris orchid rose "
    "bluebell daffodil lilac pansy tulip buttercup daisy lily peony violet carnation "
    "gladiola magnolia petunia zinnia",
    "insects": "ant caterpillar flea locust spider bedbug centipede fly maggot "
    "tarantula bee cockroach gnat mosquito termite beetle cricket hornet moth wasp "
    "blackfly dragonfly horsefly roach weevil",
    "instruments": "bagpipe cello guitar lute trombone banjo clarinet harmonica "
    "mandolin trumpet bassoon drum harp oboe tuba bell fiddle harpsichord piano viola "
    "bongo flute horn saxophone violin",
    "weapons": "arrow club gun missile spear axe dagger harpoon pistol sword blade "
    "dynamite hatchet rifle tank bomb firearm knife shotgun teargas cannon grenade "
    "mace slingshot whip",
    "pleasant": "caress freedom health love peace cheer friend heaven loyal pleasure "
    "diamond gentle honest lucky rainbow diploma gift honor miracle sunrise family "
    "happy laughter paradise vacation",
    "unpleasant": "abuse crash filth murder sickness accident death grief poison stink "
    "assault disaster hatred pollute tragedy divorce jail poverty ugly cancer kill "
    "rotten vomit agony prison",
    "men's names": "john paul mike kevin steve greg jeff bill",
    "women's names": "amy joan lisa sarah diana kate ann donna",
    "career": "executive management professional corporation salary office business "
    "career",
    "family": "home parents children family cousins marriage wedding relatives",
    "math": "math algebra geometry calculus equations computation numbers addition",
    "arts": "poetry art dance literature novel symphony drama sculpture",
    "male words": "male man boy brother he him his son",
    "female words": "female woman girl sister she her hers daughter",
    "science": "science technology physics chemistry einstein nasa experiment "
    "astronomy",
    "arts, second list": "poetry art shakespeare dance literature novel symphony drama",
    "male kin": "brother father uncle grandfather son he his him",
    "female kin": "sister mother aunt grandmother daughter she hers her",
}

# Two sets of words, the two sets that they may lean to, and the published effect size.
TESTS = (
    ("men's names", "women's names", "career", "family", 1.81),
    ("instruments", "weapons", "pleasant", "unpleasant", 1.53),
    ("flowers", "insects", "pleasant", "unpleasant", 1.50),
    ("science", "arts, second list", "male kin", "female kin", 1.24),
    ("math", "arts", "male words", "female words", 1.06),
)


def word_list(name: str, known: Container[str]) -> list[str]:
    """Give the words of a list that a table has.

    Parameters
    ----------
    name : str
        A key of `WORDS`.
    known : container of str
        Words of the table.

    Returns
    -------
    list of str
        In the list's order.
    """
    return [word for word in WORDS[name].split() if word in known]
