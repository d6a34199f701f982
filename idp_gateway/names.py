"""Public names of sockets: ``adjective-noun-NNNN``, easy to say and to remember.

Randomness is handed in, so that a test can choose the name. The number keeps names from being
guessed in one go and leaves about 130 million of them; the store's unique index settles a clash.
"""

from collections.abc import Callable

Below = Callable[[int], int]

_ADJECTIVES = """
    able agile amber ample apt azure balmy bold brave breezy bright brisk calm candid careful
    cheerful chief civil clear clever coral cosy crisp curious daring dazzling deft eager early
    earnest easy elegant famous fancy fast festive fine fond frank free fresh friendly gentle
    giant gifted glad gleaming golden good graceful grand great green handy happy hardy hearty
    helpful honest humble ideal jolly joyful keen kind lively loyal lucky lunar magic mellow
    merry mighty mild modest neat nimble noble open patient peaceful playful polite proud quick
    quiet radiant ready rosy royal sharp shiny silent silver simple sincere smart smooth snug
    solar solid spry stable steady still sturdy sunny super swift tidy tranquil trusty upbeat
    vivid warm wise witty young zesty
"""
ADJECTIVES = tuple(_ADJECTIVES.split())
"""First words; every one is kind, so that no name needs an apology."""

_NOUNS = """
    acorn anchor apple arrow aspen badger bamboo basil beacon beaver birch bison blossom bridge
    brook canyon castle cedar cherry cliff cloud clover comet compass cricket crystal daisy delta
    dolphin dune eagle echo ember falcon fern finch fjord forest fountain fox galaxy garden
    glacier grove harbor hazel heron hill horizon iris island ivy jasmine kestrel kite koala lagoon
    lake lantern lark laurel lemon lily lotus lynx maple meadow melon mesa meteor mint moon
    mountain nectar oak oasis ocean olive orchard orchid osprey otter owl panda pebble pine planet
    plum pond poplar prairie puffin quartz rabbit rainbow reef ridge river robin rocket sage
    salmon sequoia sparrow spring spruce squirrel star stream sunrise swan thistle tiger topaz
    trail tulip turtle valley violet walnut wave willow wren zebra
"""
NOUNS = tuple(_NOUNS.split())
"""Second words: animals, plants, landscapes."""

_FIRST_NUMBER = 1000
_NUMBERS = 9000


def random_name(below: Below) -> str:
    """One name; ``below(n)`` gives an integer in ``[0, n)`` (``secrets.randbelow``)."""
    adjective = ADJECTIVES[below(len(ADJECTIVES))]
    noun = NOUNS[below(len(NOUNS))]
    return f"{adjective}-{noun}-{_FIRST_NUMBER + below(_NUMBERS)}"
