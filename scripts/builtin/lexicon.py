"""The small world that the built-in models talk about: six domains of things and what is true of them.

Every domain is a table: a thing, and the predicates that hold for it. A question asks for a thing for which one or two
predicates hold (and that is not one of the excluded things), so the complete set of right answers of every question is known.
Completeness is meant within this world: a thing that no table holds (a manatee, say) is outside of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Item:
    name: str
    noun: str  # with its article, where it takes one: "a whale", "some rice", "7"
    has: frozenset[str]  # codes of the predicates that hold
    weight: float = 1.0  # how often it is the one that comes to mind


@dataclass(frozen=True)
class Domain:
    name: str
    ask: str  # what a question asks for: "an animal"
    lead: str  # what an answer begins with: "Take 7."; empty: the noun with its article alone
    predicates: dict[str, str]  # code -> "can fly"
    items: list[Item]
    by_name: dict[str, Item] = field(default_factory=dict)

    def answers(self, codes: tuple[str, ...], without: tuple[str, ...] = ()) -> list[Item]:
        return [i for i in self.items if all(c in i.has for c in codes) and i.name not in without]


ANIMALS_P = {
    "sea": "lives in the sea", "river": "lives in a river", "farm": "lives on a farm", "forest": "lives in the forest",
    "hot": "lives in a hot land", "ice": "lives in the cold", "home": "lives in a house", "bird": "is a bird", "fish": "is a fish",
    "insect": "is an insect", "fly": "can fly", "swim": "can swim", "climb": "can climb", "jump": "can jump", "big": "is big",
    "small": "is small", "fur": "has fur", "horns": "has horns", "shell": "has a shell", "tail": "has a long tail",
    "grass": "eats grass", "meat": "eats meat", "night": "wakes at night", "ride": "can carry a man",
}
ANIMALS = """
whale: sea swim big
shark: sea fish swim big meat
seal: sea ice swim meat fur
dolphin: sea swim big meat
crab: sea shell small
octopus: sea swim
lobster: sea shell
turtle: sea shell swim
tuna: sea fish swim big
cod: sea fish swim ice
oyster: sea shell small
salmon: river sea fish swim
trout: river fish swim
pike: river fish swim meat
eel: river fish swim tail
otter: river swim fur meat tail
beaver: river swim fur tail
frog: river swim jump small
duck: river farm bird swim fly
swan: river bird swim fly big
goose: farm bird swim fly
hippo: river hot swim big grass
cow: farm big grass horns tail
horse: farm big grass jump ride tail
donkey: farm big grass ride tail
sheep: farm grass fur
goat: farm grass horns climb jump
pig: farm
hen: farm bird
rabbit: farm forest grass jump fur small
bull: farm big grass horns
dog: home farm meat fur tail
cat: home climb jump meat fur night tail
mouse: home small climb night tail
hamster: home small fur night
parrot: home hot bird fly climb
goldfish: home fish swim small
spider: home small climb
bear: forest big fur climb swim meat
wolf: forest meat fur night
fox: forest meat fur night tail
deer: forest grass horns jump
moose: forest ice big grass horns swim
owl: forest bird fly meat night
squirrel: forest small fur climb jump tail
hedgehog: forest small night
bat: forest small fly night fur
snail: forest small shell climb
robin: forest bird fly small
crow: forest bird fly
hawk: forest bird fly meat
eagle: ice bird fly meat big
penguin: ice bird swim
walrus: ice sea swim big
reindeer: ice big grass horns ride
lion: hot big meat fur tail
tiger: hot big meat fur swim tail night
leopard: hot meat fur climb tail night
elephant: hot big grass ride
giraffe: hot big grass tail
zebra: hot big grass tail
camel: hot big grass ride
monkey: hot climb jump fur tail
ape: hot big climb fur
rhino: hot big grass horns
buffalo: hot big grass horns
kangaroo: hot big grass jump tail
snake: hot climb meat
lizard: hot small climb tail
ostrich: hot big bird
crocodile: hot river big swim meat tail
ant: small insect climb
bee: small insect fly
fly: small insect fly home
moth: small insect fly night
beetle: small insect climb forest
cricket: small insect jump night
locust: small insect jump fly hot
"""

FOOD_P = {
    "fruit": "is a fruit", "veg": "is a vegetable", "drink": "is a drink", "sweet": "is sweet", "sour": "is sour", "salty": "is salty",
    "red": "is red", "green": "is green", "yellow": "is yellow", "white": "is white", "brown": "is brown", "tree": "grows on a tree",
    "ground": "grows in the ground", "hot": "is served hot", "cold": "is served cold", "hard": "is hard to bite", "soft": "is soft",
    "animal": "comes from an animal", "baked": "is baked", "morning": "is eaten in the morning", "round": "is round", "spoon": "needs a spoon",
}
FOOD = """
apple: fruit sweet red green tree round hard
pear: fruit sweet green yellow tree
cherry: fruit sweet red tree round
plum: fruit sweet tree round soft
peach: fruit sweet yellow tree round soft
lemon: fruit sour yellow tree
lime: fruit sour green tree round
orange: fruit sweet tree round
banana: fruit sweet yellow tree soft
fig: fruit sweet tree soft
grape: fruit sweet green round
melon: fruit sweet green round
strawberry: fruit sweet red soft
raspberry: fruit sour red soft
tomato: veg red round soft
pepper: veg red green yellow
cucumber: veg green
pea: veg green round
bean: veg green
cabbage: veg green round
corn=: veg yellow
spinach=: veg green soft hot
carrot: veg ground hard sweet
potato: veg ground brown hot
onion: veg ground white round
beet: veg ground red round
radish: veg ground red round hard
turnip: veg ground white round
garlic=: veg ground white
nut: tree brown hard
chestnut: tree brown hot round
walnut: tree brown hard round
milk=: drink white cold animal morning
water=: drink cold
tea=: drink hot brown morning
coffee=: drink hot brown morning
cocoa=: drink hot brown sweet morning
juice=: drink cold sweet morning
lemonade=: drink cold sweet sour yellow
cider=: drink cold sweet
bread=: baked brown morning
cake: baked sweet soft
pie: baked sweet hot
biscuit: baked sweet hard
muffin: baked sweet soft morning
pretzel: baked salty brown
pizza: baked hot salty round
toast=: hot brown hard morning
butter=: animal yellow soft salty
cheese=: animal yellow salty
cream=: animal white soft
yogurt=: animal white cold sour spoon morning
egg: animal white round hot morning
honey=: animal sweet yellow spoon morning
ham=: animal salty cold
bacon=: animal salty hot morning
sausage: animal salty hot brown
fish=: animal hot
chicken=: animal hot
beef=: animal hot brown
soup=: hot salty spoon
stew=: hot brown spoon
porridge=: hot white soft spoon morning
rice=: white hot soft spoon
pudding=: sweet soft spoon
jelly=: sweet cold soft red spoon
ice cream=: sweet cold spoon white
jam=: sweet red spoon morning
chocolate=: sweet brown
toffee=: sweet brown hard
sugar=: sweet white spoon
salt=: salty white
pickle: sour green salty cold
vinegar=: sour
olive: green tree salty round
mushroom: brown soft
"""

THINGS_P = {
    "wood": "is made of wood", "metal": "is made of metal", "glass": "is made of glass", "cloth": "is made of cloth",
    "paper": "is made of paper", "stone": "is made of stone", "leather": "is made of leather", "kitchen": "is in a kitchen", "bedroom": "is in a bedroom",
    "garden": "is in a garden", "school": "is in a school", "bath": "is in a bathroom", "round": "is round", "flat": "is flat",
    "cut": "can cut", "write": "helps to write", "sit": "is to sit on", "wear": "is to wear", "light": "gives light", "water": "holds water",
    "clean": "helps to clean", "wheels": "has wheels", "sound": "makes a sound", "head": "goes on the head", "foot": "goes on the foot",
    "play": "is a toy", "lock": "helps to close a door",
}
THINGS = """
table: wood kitchen flat
chair: wood kitchen school sit
stool: wood kitchen sit
bench: wood garden sit
sofa: cloth sit
bed: wood bedroom
shelf: wood bedroom flat
drawer: wood bedroom kitchen
fence: wood garden
ladder: wood garden
barrel: wood garden round water
pencil: wood school write
ruler: wood school flat
guitar: wood sound
drum: wood round sound play
flute: wood sound
broom: wood kitchen clean
door: wood flat
knife: metal kitchen cut
fork: metal kitchen
spoon: metal kitchen
pan: metal kitchen round flat
pot: metal kitchen round water
kettle: metal kitchen water sound
oven: metal kitchen
axe: metal garden cut
saw: metal garden cut
spade: metal garden
rake: metal garden
bucket: metal garden water clean
scissors=: metal school cut
razor: metal bath cut
key: metal lock
lock: metal lock
bolt: metal lock
chain: metal lock
coin: metal round flat
bell: metal school sound round
whistle: metal sound play
ring: metal wear round
crown: metal wear head round
helmet: metal wear head
bicycle: metal wheels
car: metal wheels
truck: metal wheels play
train: metal wheels sound play
cart: wood wheels garden
skates=: leather wheels foot wear play
wagon: wood wheels play
cup: glass kitchen water
jar: glass kitchen water
bottle: glass kitchen water
vase: glass water
mirror: glass bath bedroom flat
window: glass flat
lamp: glass bedroom light
bulb: glass round light
candle: light
torch: light
lantern: metal light garden
moon: light round
sun: light round
shirt: cloth wear
coat: cloth wear
skirt: cloth wear
scarf: cloth wear
hat: cloth wear head
cap: cloth wear head
hood: cloth wear head
sock: cloth wear foot
boot: leather wear foot
shoe: leather wear foot
sandal: leather wear foot
belt: leather wear
saddle: leather sit
glove: leather wear
ball: leather round play
towel: cloth bath clean
curtain: cloth bedroom
pillow: cloth bedroom
blanket: cloth bedroom flat
rug: cloth bedroom flat
sponge: bath kitchen clean
soap=: bath clean
brush: bath clean
comb: bath
mop: kitchen clean
tub: bath water
sink: kitchen bath water
book: paper school
letter: paper
map: paper school flat
card: paper flat play
kite: paper play
bag: paper school
newspaper: paper
poster: paper school flat
pen: school write
chalk=: school write
crayon: school write play
brick: stone
statue: stone garden
wall: stone garden
path: stone garden flat
pillar: stone round
well: stone garden round water
fountain: stone garden water
bridge: stone
piano: wood sound
horn: metal sound
doll: cloth play
"""

RHYMES = """
cat hat bat mat rat sat flat
man pan fan van can ran plan
day play say way may stay pay
light night right fight bright tight
cake lake make take snake wake shake
ball tall wall fall call small hall
king ring sing wing thing bring sting
bell well tell shell smell fell sell
dog fog log frog hog jog
tree bee see free three knee
bone stone phone cone alone zone
moon spoon soon noon tune balloon
book look cook hook took shook
ride hide side wide slide bride
snow grow slow blow show know
rain train pain chain brain plain
clock rock sock lock block shock
best nest west rest test guest
hand sand land band stand grand
hop top shop stop drop mop
star car far jar bar scar
ship lip trip drip tip skip
bug rug mug hug dug plug
pen ten men hen then when
"""

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
SEASON = {12: "winter", 1: "winter", 2: "winter", 3: "spring", 4: "spring", 5: "spring", 6: "summer", 7: "summer", 8: "summer", 9: "autumn",
          10: "autumn", 11: "autumn"}
LONG = {1, 3, 5, 7, 8, 10, 12}
SHORT = {4, 6, 9, 11}

VOWELS = "aeiou"


def article(noun: str) -> str:
    return f"an {noun}" if noun[0].lower() in VOWELS else f"a {noun}"


def table(text: str) -> list[Item]:
    items = []
    lines = [line for line in text.strip().splitlines() if line]
    for line in lines:
        name, codes = line.split(":")
        mass = name.endswith("=")
        name = name.rstrip("=")
        noun = f"some {name}" if mass else article(name)
        items.append(Item(name, noun, frozenset(codes.split())))
    return items


def words() -> Domain:
    predicates: dict[str, str] = {}
    families = [line.split() for line in RHYMES.strip().splitlines()]
    items = []
    letters: dict[str, int] = {}
    for family in families:
        for word in family:
            letters[word[0]] = letters.get(word[0], 0) + 1
    count = {3: "three", 4: "four", 5: "five"}
    for family in families:
        for word in family:
            codes = {f"rhyme-{other}" for other in family if other != word}
            if letters[word[0]] >= 3:
                codes.add(f"first-{word[0]}")
            if len(word) in count:
                codes.add(f"long-{len(word)}")
            items.append(Item(word, word, frozenset(codes)))
    for family in families:
        for word in family:
            predicates[f"rhyme-{word}"] = f"rhymes with {word}"
    for letter in sorted(letters):
        if letters[letter] >= 3:
            predicates[f"first-{letter}"] = f"begins with {letter}"
    for n, text in count.items():
        predicates[f"long-{n}"] = f"has {text} letters"
    return Domain("words", "a word", "Say", predicates, items)


NUMBER_MAX = 30  # the numbers that the models talk about; right answers are counted up to ANSWER_MAX
ANSWER_MAX = 99


def number_codes(n: int) -> set[str]:
    codes = {"even" if n % 2 == 0 else "odd", f"end-{n % 10}"}
    codes |= {f"less-{m}" for m in range(4, 31) if n < m}
    codes |= {f"more-{m}" for m in range(0, 27) if n > m}
    codes |= {f"between-{a}-{b}" for a in range(0, 27) for b in range(a + 3, min(a + 9, 31)) if a < n < b}
    codes.add("one-digit" if n < 10 else "two-digits")
    if n % 5 == 0:
        codes.add("five")
    if n % 3 == 0:
        codes.add("three")
    return codes


def numbers() -> Domain:
    predicates = {"even": "is even", "odd": "is odd", "one-digit": "has one digit", "two-digits": "has two digits",
                  "five": "can be divided by five", "three": "can be divided by three"}
    predicates |= {f"end-{d}": f"ends in {d}" for d in range(10)}
    predicates |= {f"less-{m}": f"is less than {m}" for m in range(4, 31)}
    predicates |= {f"more-{m}": f"is more than {m}" for m in range(0, 27)}
    predicates |= {f"between-{a}-{b}": f"is between {a} and {b}" for a in range(0, 27) for b in range(a + 3, min(a + 9, 31))}
    items = [Item(str(n), str(n), frozenset(number_codes(n))) for n in range(1, NUMBER_MAX + 1)]
    return Domain("numbers", "a number", "Take", predicates, items)


def calendar() -> Domain:
    predicates: dict[str, str] = {}
    items = []
    names = [(n, i, "day") for i, n in enumerate(DAYS)] + [(n, i, "month") for i, n in enumerate(MONTHS)]
    for name, index, kind in names:
        group = DAYS if kind == "day" else MONTHS
        codes = {kind, f"first-{name[0].lower()}"}
        codes |= {f"after-{other}" for j, other in enumerate(group) if index > j}
        codes |= {f"before-{other}" for j, other in enumerate(group) if index < j}
        if kind == "day":
            codes.add("weekend" if index >= 5 else "work")
        else:
            month = index + 1
            codes.add(SEASON[month])
            codes.add("half-1" if month <= 6 else "half-2")
            if month in LONG:
                codes.add("31")
            if month in SHORT:
                codes.add("30")
            if "r" in name.lower():
                codes.add("r")
            if name.endswith("y"):
                codes.add("y")
            if name.endswith("ber"):
                codes.add("ber")
        items.append(Item(name, name, frozenset(codes)))
    for group in (DAYS, MONTHS):
        for name in group[:-1]:
            predicates[f"after-{name}"] = f"comes after {name}"
        for name in group[1:]:
            predicates[f"before-{name}"] = f"comes before {name}"
    for letter in "adfjmnotsw":
        predicates[f"first-{letter}"] = f"begins with {letter}"
    predicates |= {"weekend": "has no school", "work": "is a school day", "winter": "is in winter", "spring": "is in spring", "summer": "is in summer",
                   "autumn": "is in autumn", "half-1": "is in the first half of the year", "half-2": "is in the second half of the year",
                   "31": "has 31 days", "30": "has 30 days", "r": "has an r in it", "y": "ends in y", "ber": "ends in ber"}
    return Domain("calendar", "a time", "In", predicates, items)


def build() -> dict[str, Domain]:
    domains = {
        "animals": Domain("animals", "an animal", "", ANIMALS_P, table(ANIMALS)),
        "food": Domain("food", "a food", "", FOOD_P, table(FOOD)),
        "things": Domain("things", "a thing", "", THINGS_P, table(THINGS)),
        "words": words(),
        "numbers": numbers(),
        "calendar": calendar(),
    }
    for domain in domains.values():
        for item in domain.items:
            unknown = [c for c in item.has if c not in domain.predicates and c not in ("day", "month")]
            if unknown:
                raise ValueError(f"{domain.name}: {item.name} has predicates without a text: {unknown}")
            domain.by_name[item.name] = item
    return domains
