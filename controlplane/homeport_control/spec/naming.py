"""Names for runs that have none: `adjective-animal-N`. Pure: the caller passes the randomness."""

_ADJECTIVES = """
able agile amber ample apt azure bold brave breezy brief bright brisk calm candid chatty clever cosy crisp curious
dapper deft eager early earnest easy elated fair famous fancy fast fine fleet fluffy fond frank fresh gentle giant
glad golden good grand great green handy happy hardy hazel honest humble ideal jolly keen kind lively loud loyal lucky
mellow merry mighty mild modest neat nimble noble patient plain polite proud quick quiet rapid ready rosy rough sharp
shiny silent silver simple sleek smart smooth snug soft solid spry steady stout strong sunny swift tall tidy tiny
tough true vast warm wise witty young zesty
"""
_ANIMALS = """
ant ape badger bat bear beaver bee beetle bison bobcat camel cat cheetah cobra condor cougar cow crab crane cricket
crow deer dingo dog dolphin donkey dove dragon duck eagle eel elephant elk emu falcon ferret finch fish fly fox frog
gazelle gecko goat goose hare hawk hedgehog heron horse hyena ibex iguana jackal jaguar kiwi koala lamb lark lemur
leopard lion lizard llama lobster lynx marmot mole moose moth mouse mule newt octopus otter owl ox panda panther
parrot penguin pigeon pony puma quail rabbit raccoon ram raven robin salmon seal shark sheep sloth snail spider squid
stork swan tiger toad trout turkey turtle walrus wasp whale wolf wombat yak zebra
"""


def random_name(randomness: int | bytes) -> str:
    """A name for a number; all of about a million are equally likely when the number has 64 random bits or more."""
    adjectives, animals = _ADJECTIVES.split(), _ANIMALS.split()
    number = int.from_bytes(randomness) if isinstance(randomness, bytes) else abs(randomness)
    number, adjective = divmod(number, len(adjectives))
    number, animal = divmod(number, len(animals))
    return f"{adjectives[adjective]}-{animals[animal]}-{number % 100 + 1}"
