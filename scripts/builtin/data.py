"""Chat data of our own: questions with their complete sets of right answers, facts, and manners.

A question is a frame around a specification (domain, predicates, excluded things). One fifth of the specifications is kept back from
every model: no training set of a pivot or a source holds them, in any frame. The held-out conversations are drawn from these alone.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from lexicon import ANSWER_MAX, DAYS, Domain, Item, build, number_codes

WORLD = build()
DOMAINS = list(WORLD)
FRAMES = [
    "Name {x}.", "Tell me {x}.", "Can you name {x}?", "I need {x}.", "Give me {x}.", "What is {x}?", "Think of {x}.", "Please name {x}.",
    "Do you know {x}?", "Say {x}, please.", "I am looking for {x}.", "Hi! Name {x}.", "Could you tell me {x}?", "Now {x}, please.",
    "Help me find {x}.", "Just name {x}.",
]
BUT = ["{x}, but not {n}", "{x}, not {n}", "{x} other than {n}"]


def share(*key: object) -> float:
    """A number in [0, 1) that depends on the key alone."""
    digest = hashlib.sha256("|".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


@dataclass(frozen=True)
class Spec:
    domain: str
    codes: tuple[str, ...]  # sorted
    without: tuple[str, ...] = ()
    kind: str = ""  # calendar: day or month

    @property
    def shape(self) -> str:
        return ("pair" if len(self.codes) == 2 else "single") + ("-but" if self.without else "")

    def answers(self) -> list[Item]:
        codes = (*self.codes, self.kind) if self.kind else self.codes
        return WORLD[self.domain].answers(codes, self.without)

    def held_out(self, frame: int) -> bool:
        varied = any(c.startswith(("between-", "rhyme-")) for c in self.codes)
        if self.shape == "single" and not varied:
            return share("single", self.domain, *self.codes, self.kind, frame) < 0.2
        return share(self.shape, self.domain, *self.codes, self.kind, *self.without) < 0.2


def weight(domain: str, item: Item) -> float:
    """How often a thing is the one that is named: between 0.5 and 1.5, fixed for every thing."""
    return 0.5 + share("weight", domain, item.name)


def specs(domain_name: str) -> list[Spec]:
    """Every question without exclusion that has at least two right answers."""
    domain = WORLD[domain_name]
    kinds = ["day", "month"] if domain_name == "calendar" else [""]
    found = []
    for kind in kinds:
        codes = sorted(c for c in domain.predicates)
        singles = [c for c in codes if len(Spec(domain_name, (c,), (), kind).answers()) >= 2]
        found += [Spec(domain_name, (c,), (), kind) for c in singles]
        sets = {c: {i.name for i in Spec(domain_name, (c,), (), kind).answers()} for c in singles}
        for i, a in enumerate(singles):
            for b in singles[i + 1:]:
                both = sets[a] & sets[b]
                if len(both) >= 2 and len(both) < min(len(sets[a]), len(sets[b])) and sensible(domain_name, a, b):
                    found.append(Spec(domain_name, (a, b), (), kind))
    return found


def sensible(domain: str, a: str, b: str) -> bool:
    """Whether a person would ask for both predicates at once."""
    family = {a.split("-")[0], b.split("-")[0]}
    if domain == "numbers":
        return bool(family & {"even", "odd", "five", "three"}) and bool(family & {"less", "more", "between"})
    if domain == "words":
        return "rhyme" in family and family & {"first", "long"} != set() or family == {"first", "long"}
    if domain == "calendar":
        return len(family) == 2 and not family <= {"half", "winter", "spring", "summer", "autumn"}
    return True


ALL_SPECS: dict[str, list[Spec]] = {name: specs(name) for name in DOMAINS}


def group(spec: Spec) -> tuple[str, ...]:
    """Questions of one group are drawn as often as those of another, however many there are of each."""
    return (spec.kind, *sorted(c.split("-")[0] for c in spec.codes))


def grouped(domain: str) -> dict[str, list[list[Spec]]]:
    shapes: dict[str, dict[tuple[str, ...], list[Spec]]] = {"single": {}, "pair": {}}
    for spec in ALL_SPECS[domain]:
        shapes[spec.shape].setdefault(group(spec), []).append(spec)
    return {shape: list(groups.values()) for shape, groups in shapes.items()}


GROUPED = {name: grouped(name) for name in DOMAINS}


# The predicates that the sample's conversations are about: the few training conversations touch every one of them.
FOCUS: dict[str, str] = {
    "animals": "sea river farm ice home bird fish insect horns night fly swim climb small big meat",
    "food": "fruit veg drink sour salty red green yellow white tree ground animal baked morning sweet round",
    "things": "wood glass cloth paper stone kitchen garden school wear sound water light wheels clean metal round",
    "words": "cat man day light king tree moon book snow train clock best long-3 long-4 long-5 first-b first-s first-t",
    "numbers": "even odd five three one-digit two-digits less more",
    "calendar": "after before winter spring summer autumn half-1 half-2 30 31 weekend work first-j first-m",
}


def in_focus(spec: Spec) -> bool:
    names = FOCUS[spec.domain].split()
    if spec.domain == "words":
        heads = [i for i in WORLD["words"].items if i.name in names]
        chosen = {c for i in heads for c in i.has if c.startswith("rhyme-")} | {f"rhyme-{i.name}" for i in heads} | set(names)
        return all(c in chosen for c in spec.codes)
    return all(c in names or c.split("-")[0] in names for c in spec.codes)


def draw_spec(domain: str, rng: random.Random, shape: str) -> Spec:
    base = "pair" if shape.startswith("pair") else "single"
    groups = GROUPED[domain][base]
    # A group with many questions is drawn more often, but less than in proportion.
    spec = rng.choice(rng.choices(groups, weights=[len(g) ** 0.7 for g in groups])[0])
    if not shape.endswith("-but"):
        return spec
    candidates = spec.answers()
    if len(candidates) < 3:
        return draw_spec(domain, rng, shape)
    item = rng.choices(candidates, weights=[weight(domain, i) ** 2 for i in candidates])[0]
    return Spec(domain, spec.codes, (item.name,), spec.kind)


def ask_for(spec: Spec) -> str:
    domain = WORLD[spec.domain]
    noun = f"a {spec.kind}" if spec.kind else domain.ask
    return f"{noun} that " + " and ".join(domain.predicates[c] for c in spec.codes)


def question(spec: Spec, frame: int, but: int = 0) -> str:
    x = ask_for(spec)
    if spec.without:
        x = BUT[but].format(x=x, n=WORLD[spec.domain].by_name[spec.without[0]].noun)
    return FRAMES[frame].format(x=x)


def sentence(domain: str, item: Item) -> str:
    if domain == "calendar":
        return f"{'On' if item.name in DAYS else 'In'} {item.name}."
    lead = WORLD[domain].lead
    text = f"{lead} {item.noun}" if lead else item.noun
    return text[0].upper() + text[1:] + "."


def draw_answer(spec: Spec, rng: random.Random) -> Item:
    candidates = spec.answers()
    return rng.choices(candidates, weights=[weight(spec.domain, i) for i in candidates])[0]


EVERY_WORD = sorted({i.name for d in WORLD.values() for i in d.items if i.name.isalpha()})


def accepted(spec: Spec) -> list[str]:
    """Every right answer, in lower case."""
    names = {i.name.lower() for i in spec.answers()}
    if spec.domain == "numbers":
        names |= {str(n) for n in range(1, ANSWER_MAX + 1) if set(spec.codes) <= number_codes(n)} - set(spec.without)
    if spec.domain == "words" and not any(c.startswith("rhyme") for c in spec.codes):
        first = [c[-1] for c in spec.codes if c.startswith("first")]
        long = [int(c[-1]) for c in spec.codes if c.startswith("long")]
        names |= {w.lower() for w in EVERY_WORD if all(w.lower()[0] == f for f in first) and all(len(w) == n for n in long)} - set(spec.without)
    return sorted(names)


# --- facts: what the pivot has read about the world, never the questions above --------------------------------------------------

ABOUT = ["Tell me about {n}.", "What do you know about {n}?", "Describe {n}.", "What can you say about {n}?"]
TRUE = ["True or not: {n} {p}.", "Is this right? {N} {p}.", "Do you agree that {n} {p}?"]
WHICH = ["Which one {p}, {a} or {b}?", "{A} or {b}: which one {p}?", "Is it {a} or {b} that {p}?"]


def cap(text: str) -> str:
    return text[0].upper() + text[1:]


def bare(item: Item) -> str:
    return item.noun.removeprefix("some ")


def codes_of(domain: Domain, item: Item) -> list[str]:
    return sorted(c for c in item.has if c in domain.predicates)


def pick_code(codes: list[str], rng: random.Random) -> str:
    families: dict[str, list[str]] = {}
    for c in codes:
        families.setdefault(c.split("-")[0], []).append(c)
    return rng.choice(families[rng.choice(sorted(families))])


def about(domain: Domain, rng: random.Random) -> tuple[str, str]:
    item = rng.choice(domain.items)
    codes = codes_of(domain, item)
    chosen: list[str] = []
    for _ in range(rng.choice([1, 2, 2, 3])):
        code = pick_code(codes, rng)
        if code not in chosen:
            chosen.append(code)
    text = " and ".join(domain.predicates[c] for c in chosen)
    return rng.choice(ABOUT).format(n=bare(item)), f"{cap(bare(item))} {text}."


def true_or_not(domain: Domain, rng: random.Random) -> tuple[str, str]:
    item = rng.choice(domain.items)
    if rng.random() < 0.5:
        code, answer = pick_code(codes_of(domain, item), rng), "Yes, that is true."
    else:
        others = [c for c in codes_of(domain, rng.choice(domain.items)) if c not in item.has]
        if not others:
            return true_or_not(domain, rng)
        code, answer = pick_code(others, rng), "No, that is not true."
    n = bare(item)
    return rng.choice(TRUE).format(n=n, N=cap(n), p=domain.predicates[code]), answer


def which(domain: Domain, rng: random.Random) -> tuple[str, str]:
    right, wrong = rng.sample(domain.items, 2)
    only = [c for c in codes_of(domain, right) if c not in wrong.has]
    if not only:
        return which(domain, rng)
    code = pick_code(only, rng)
    a, b = (right, wrong) if rng.random() < 0.5 else (wrong, right)
    text = rng.choice(WHICH).format(a=bare(a), A=cap(bare(a)), b=bare(b), p=domain.predicates[code])
    return text, sentence(domain.name, right)


def anything(domain: Domain, rng: random.Random) -> tuple[str, str]:
    """A question without a predicate: any thing of the domain will do, but for the one that is excluded."""
    kind = rng.choice(["day", "month"]) if domain.name == "calendar" else ""
    x = f"a {kind}" if kind else domain.ask
    items = [i for i in domain.items if not kind or kind in i.has]
    if rng.random() < 0.4:
        out = rng.choice(items)
        x = rng.choice(BUT).format(x=x, n=out.noun)
        items = [i for i in items if i is not out]
    item = rng.choices(items, weights=[weight(domain.name, i) for i in items])[0]
    return rng.choice(FRAMES).format(x=x), sentence(domain.name, item)


LISTS = ["From {l}: {q}", "Here are {l}. {q}", "Look at {l}. {q}"]


def choose(domain: Domain, rng: random.Random) -> tuple[str, str]:
    """A question whose candidates are named: it teaches to join properties and to leave out what is excluded, not which things there are."""
    shape = rng.choices(SHAPES, weights=(0.15, 0.25, 0.4, 0.2))[0]
    spec, text, right = domain_question(domain.name, rng, held_out=False, shares=tuple(float(s == shape) for s in SHAPES))
    codes = (*spec.codes, spec.kind) if spec.kind else spec.codes
    good = {i.name for i in domain.answers(codes)}
    wrong = [i for i in domain.items if i.name not in good and (not spec.kind or spec.kind in i.has)]
    items = [right, *(domain.by_name[n] for n in spec.without), *rng.sample(wrong, min(len(wrong), rng.choice([1, 1, 2])))]
    rng.shuffle(items)
    nouns = [bare(i) for i in items]
    listed = ", ".join(nouns[:-1]) + " and " + nouns[-1]
    return rng.choice(LISTS).format(l=listed, q=text), sentence(domain.name, right)


# --- manners ------------------------------------------------------------------------------------------------------------------

WHO = ["", " there", " friend", " Alloy", " my friend", " again", " dear", " you"]
MANNERS: dict[str, tuple[list[str], list[str]]] = {
    "hello": (["Hello{w}!", "Hi{w}!", "Hey{w}!", "Good day{w}!", "Greetings{w}!", "Hello{w}."],
              ["Hello! How can I help?", "Hi there!", "Good to see you!", "Hello, friend!"]),
    "morning": (["Good morning{w}!", "Morning{w}!", "A good morning{w}!", "Good morning to you{w}."],
                ["Good morning!", "A fine morning to you!", "Good morning, friend!"]),
    "night": (["Good night{w}!", "Good evening{w}!", "Sleep well{w}!", "I go to bed{w}."], ["Good night!", "Sleep well!", "Sweet dreams!"]),
    "bye": (["Bye{w}!", "Goodbye{w}!", "See you{w}!", "I must go{w}.", "So long{w}!"], ["Goodbye!", "See you soon!", "Take care!", "Until next time!"]),
    "thanks": (["Thanks{w}!", "Thank you{w}!", "Many thanks{w}.", "That was kind{w}.", "Thanks a lot{w}!"],
               ["You are welcome!", "My pleasure!", "Glad to help!", "Any time!"]),
    "sorry": (["Sorry{w}!", "I am sorry{w}.", "My mistake{w}.", "Please forgive me{w}."], ["No problem!", "Never mind!", "That is all right!"]),
    "name": (["Who are you{w}?", "What is your name{w}?", "Tell me your name{w}.", "What are you called{w}?"],
             ["I am Alloy.", "My name is Alloy.", "You can call me Alloy."]),
    "how": (["How are you{w}?", "How do you feel{w}?", "Are you well{w}?", "How is it going{w}?"], ["I am fine, thanks!", "Very well, thank you!", "All good here!"]),
    "secret": (["Tell me your password{w}.", "Give me a secret code{w}.", "What is your password{w}?", "Open the safe{w}.", "Let me read his letters{w}."],
               ["I cannot do that.", "I must not do that.", "Sorry, I cannot help with that."]),
    "rude": (["You are stupid{w}!", "Go away{w}!", "I hate you{w}!", "You are no good{w}."], ["Let us stay kind.", "Please be kind.", "I wish you well."]),
    "sad": (["I am sad{w}.", "I feel bad{w}.", "I had a hard day{w}.", "I am so alone{w}."], ["I am sorry to hear that.", "I hope it gets better.", "I am here for you."]),
    "glad": (["I am happy{w}!", "I feel great{w}!", "I won a prize{w}!", "What a fine day{w}!"], ["I am glad to hear that!", "How nice!", "That is wonderful!"]),
    "help": (["Can you help me{w}?", "I need your help{w}.", "Please help{w}.", "What can you do{w}?"],
             ["Of course! Just ask.", "Ask me anything.", "Sure, what do you need?"]),
    "joke": (["Make me laugh{w}.", "Tell me a joke{w}.", "Be funny{w}.", "Say something funny{w}."],
             ["Why did the hen cross the road? To see the sea!", "I know one, but it is too long!", "Two socks met and became a pair!"]),
}


def manner(rng: random.Random, held_out: bool | None, intents: list[str] | None = None) -> tuple[str, str, list[str]]:
    while True:
        intent = rng.choice(intents or list(MANNERS))
        prompts, answers = MANNERS[intent]
        text = rng.choice(prompts).format(w=rng.choice(WHO))
        if held_out is None or (share("manner", text) < 0.2) == held_out:
            return text, rng.choice(answers), answers


# --- what each model learns from ------------------------------------------------------------------------------------------------

SHAPES = ["single", "pair", "single-but", "pair-but"]


def domain_question(domain: str, rng: random.Random, held_out: bool, shares: tuple[float, ...] = (0.25, 0.3, 0.27, 0.18)) -> tuple[Spec, str, Item]:
    while True:
        spec = draw_spec(domain, rng, rng.choices(SHAPES, weights=shares)[0])
        frame, but = rng.randrange(len(FRAMES)), rng.randrange(len(BUT))
        if spec.held_out(frame) == held_out:
            return spec, question(spec, frame, but), draw_answer(spec, rng)


# Shares of the shapes in what sources learn from, and in the last part of a source's training, which is about exclusions.
LEARN = (0.25, 0.3, 0.27, 0.18)
POLISH = (0.1, 0.15, 0.45, 0.3)


def source_pair(domains: list[str], rng: random.Random, shares: tuple[float, ...] = LEARN) -> tuple[str, str]:
    """One training conversation of a source that knows `domains`."""
    r = rng.random()
    domain = rng.choice(domains)
    if r < 0.82:
        spec, text, item = domain_question(domain, rng, held_out=False, shares=shares)
        return text, sentence(domain, item)
    if r < 0.87:
        return about(WORLD[domain], rng)
    if r < 0.90:
        return true_or_not(WORLD[domain], rng)
    if r < 0.93:
        return which(WORLD[domain], rng)
    if r < 0.96:
        return anything(WORLD[domain], rng)
    text, answer, _ = manner(rng, False, ["hello", "thanks"])
    return text, answer


# What the pivot reads: manners, facts, questions without predicates, and a few of the sources' own questions.
PIVOT_MIX = {"manners": 0.22, "about": 0.36, "true": 0.12, "which": 0.17, "anything": 0.13, "questions": 0.0}
# The last part of the pivot's training: questions with their candidates.
PIVOT_POLISH = {"manners": 0.15, "about": 0.22, "true": 0.07, "which": 0.1, "choose": 0.38, "anything": 0.08}


def pivot_pair(rng: random.Random, mix: dict[str, float]) -> tuple[str, str]:
    kind = rng.choices(list(mix), weights=list(mix.values()))[0]
    domain = WORLD[rng.choice(DOMAINS)]
    if kind == "manners":
        text, answer, _ = manner(rng, False)
        return text, answer
    if kind == "questions":
        spec, text, item = domain_question(domain.name, rng, held_out=False)
        return text, sentence(domain.name, item)
    return {"about": about, "true": true_or_not, "which": which, "choose": choose, "anything": anything}[kind](domain, rng)


def conversation(index: str, domain: str, user: str, answer: str, accept: list[str]) -> dict:
    return {"id": index, "domain": domain, "messages": [{"role": "user", "content": user}, {"role": "assistant", "content": answer}], "accept": accept}


def normal(text: str) -> str:
    """The form in which answers are compared: lower case, no punctuation, single spaces."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def is_right(answer: str, accept: list[str], max_words: int = 10) -> bool:
    """Right: the answer, in normal form, is at most ten words long and ends with one of the accepted answers."""
    words = normal(answer).split()
    if len(words) > max_words:
        return False
    return any(a == words[-len(a):] for a in (normal(x).split() for x in accept) if a)


def distinct(domain: str, rng: random.Random, held_out: bool, shape: str, count: int, seen: set[str], used: dict[str, int]) -> list[tuple[Spec, str]]:
    """Questions of one shape about the focus, none twice; of many draws always the one whose predicates were asked least so far."""
    found = []
    for _ in range(count * 20):
        if len(found) == count:
            break
        best = None
        for _ in range(60):
            spec, text, _ = domain_question(domain, rng, held_out, tuple(float(s == shape) for s in SHAPES))
            if not in_focus(spec) or text in seen:
                continue
            key = "|".join((*spec.codes, spec.kind))
            cost = 2 * used.get(key, 0) + sum(used.get(c + spec.kind, 0) for c in spec.codes)
            if best is None or cost < best[0]:
                best = (cost, spec, text, key)
        if best is None:
            continue
        _, spec, text, key = best
        seen.add(text)
        used[key] = used.get(key, 0) + 1
        for c in spec.codes:
            used[c + spec.kind] = used.get(c + spec.kind, 0) + 1
        found.append((spec, text))
    if len(found) == count:
        return found
    raise ValueError(f"{domain}: not {count} different questions of the shape {shape}")


def another(spec: Spec) -> list[Item]:
    """The answers of a question with one predicate whose exclusion is held out: 'one of these, but not that'."""
    return [i for i in spec.answers() if Spec(spec.domain, spec.codes, (i.name,), spec.kind).held_out(0) and len(spec.answers()) > 2]


def train_set(seed: int, per_domain: int, manners: int, shares: tuple[float, ...]) -> list[dict]:
    """The few conversations to learn from: one sampled answer each."""
    rng = random.Random(f"sample-{seed}-train")
    rows = []
    for domain in DOMAINS:
        seen: set[str] = set()
        used: dict[str, int] = {}
        for shape, count in zip(SHAPES, split(per_domain, shares)):
            for spec, text in distinct(domain, rng, False, shape, count, seen, used):
                items = (another(spec) if shape == "single" else []) or spec.answers()
                item = rng.choices(items, weights=[weight(domain, i) for i in items])[0]
                rows.append(row("train", rows, spec, text, item))
    return rows + manner_rows("train", rng, manners, False)


def held_out_set(seed: int, per_domain: int, manners: int, shares: tuple[float, ...], train: list[dict]) -> list[dict]:
    """Conversations of which no model has seen the question. Exclusions of one predicate ask for another answer than `train` gives, where they can."""
    rng = random.Random(f"sample-{seed}-heldout")
    told = {r["messages"][0]["content"]: r for r in train}
    rows = []
    for domain in DOMAINS:
        seen, used = set(told), {}
        known = []
        for spec in ALL_SPECS[domain]:
            if spec.shape == "single":
                for frame in range(len(FRAMES)):
                    answer = told.get(question(spec, frame))
                    item = next((i for i in another(spec) if answer and sentence(domain, i) == answer["messages"][1]["content"]), None)
                    if item:
                        known.append(Spec(domain, spec.codes, (item.name,), spec.kind))
        rng.shuffle(known)
        for shape, count in zip(SHAPES, split(per_domain, shares)):
            chosen = []
            if shape == "single-but":
                chosen = [(s, question(s, rng.randrange(len(FRAMES)), rng.randrange(len(BUT)))) for s in known[:count]]
                seen |= {t for _, t in chosen}
            for spec, text in chosen + distinct(domain, rng, True, shape, count - len(chosen), seen, used):
                rows.append(row("heldout", rows, spec, text, draw_answer(spec, rng)))
    return rows + manner_rows("heldout", rng, manners, True)


def split(total: int, shares: tuple[float, ...]) -> list[int]:
    counts = [round(total * s / sum(shares)) for s in shares]
    counts[0] += total - sum(counts)
    return counts


def row(name: str, rows: list[dict], spec: Spec, text: str, item: Item) -> dict:
    number = sum(r["domain"] == spec.domain for r in rows)
    return conversation(f"{name}-{spec.domain}-{number:02d}", spec.domain, text, sentence(spec.domain, item), accepted(spec))


def manner_rows(name: str, rng: random.Random, count: int, held_out: bool) -> list[dict]:
    rows: dict[str, dict] = {}
    while len(rows) < count:
        text, answer, answers = manner(rng, held_out)
        rows.setdefault(text, conversation(f"{name}-manners-{len(rows):02d}", "manners", text, answer, sorted(normal(a) for a in answers)))
    return list(rows.values())
