"""Short lists of English words that the rules know. All in lower case."""


def _words(text: str) -> frozenset[str]:
  return frozenset(text.split())


# Nouns that count or portion what follows "of": the people of "a group of
# people" are the object, "group of" is its attribute.
MEASURES = _words(
  'group groups bunch pair pairs couple lot lots number set row rows line bit '
  'bits piece pieces variety series kind type types'
)
# Nouns that name a place in another thing: "on the side of", "at the top of"
# are prepositions.
PLACES = _words(
  'back base bottom center centre corner edge end front inside middle midst '
  'outside side sides top'
)
# Prepositions of several words besides those with a noun of PLACES.
PREPOSITIONS = tuple(
  tuple(text.split())
  for text in (
    'in between',
    'in back of',
    'on top of',
    'in front of',
    'next to',
    'close to',
    'near to',
    'adjacent to',
    'out of',
    'off of',
    'up to',
    'inside of',
    'outside of',
    'because of',
    'along with',
    'together with',
    'away from',
    'far from',
    'across from',
    'ahead of',
    'instead of',
    'such as',
    'as well as',
    'due to',
    'opposite of',
  )
)
# Words that stand for a thing named elsewhere, even where a parser tags them
# as nouns or adjectives.
PRONOUNS = _words(
  'i you he she it we they me him her us them this that these those who whom '
  'which what whose one ones another other each both all some many few most '
  'none something someone somebody anything everyone everything nothing there '
  'himself herself itself themselves'
)
# Quantities that are attributes although they are tagged as adjectives or
# determiners; other determiners are not.
QUANTITIES = _words('several many few multiple various numerous')
# Adjectives that point at a thing instead of describing it.
POINTING = _words('other another such same own certain next last')
# Nouns that describe the noun after them: what it is made of, its color. "a
# metal pole" has an attribute, "a tennis racket" is one thing. Colors are here
# because taggers take many for nouns.
DESCRIBING = _words(
  'asphalt brick bronze cement chrome concrete copper cotton denim dirt glass '
  'gold grass gravel iron leather marble metal nylon paper plaid plastic '
  'rubber silk silver steel stone straw tile wicker wire wood wool '
  'beige black blond blonde blue brown gray green grey maroon pink purple red '
  'tan teal turquoise white yellow'
)
# Words without a meaning of their own that can be seen in a picture. Without
# a parser every other word is a phrase.
FUNCTION_WORDS = _words(
  'a an the this that these those some any each every another other its his '
  'her their our my your it he she they we you i him them us me who whom which '
  'what whose there is are was were be been being am has have had do does did '
  'will would can could may might must shall should not no nor and or but so '
  'if than then as while of to by for from at with very too just also both '
  "s 's ' t ll re ve"
)
# Words that may open a caption without an article being missing.
OPENERS = FUNCTION_WORDS | _words(
  'several many few two three four five six seven eight nine ten eleven twelve '
  'in on under over above below behind beside between inside outside near next '
  'around through into onto across along after before against among atop '
  'during here who where when how why lots looking'
)
