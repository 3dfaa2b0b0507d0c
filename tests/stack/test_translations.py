from babel.messages.catalog import Catalog

from stack.translations import source_catalogue, untranslated


def catalogue(**translations: str) -> Catalog:
    made = Catalog(locale="es")
    for text, translation in translations.items():
        made.add(text, translation)
    return made


def source(*texts: str) -> Catalog:
    made = Catalog()
    for text in texts:
        made.add(text, locations=[("portal/views.py", 0)])
    return made


def test_a_text_without_translation_is_found():
    assert list(untranslated(source("Suspend", "Restore"), catalogue(Suspend="Cortar"))) == [
        "portal/views.py: 'Restore' has no translation"
    ]


def test_an_empty_translation_is_none():
    assert list(untranslated(source("Suspend"), catalogue(Suspend=""))) == [
        "portal/views.py: 'Suspend' has no translation"
    ]


def test_a_fuzzy_translation_is_found():
    made = Catalog(locale="es")
    made.add("Suspend", "Cortar", flags=["fuzzy"])
    assert list(untranslated(source("Suspend"), made)) == [
        "portal/views.py: the translation of 'Suspend' is marked fuzzy"
    ]


def test_a_translation_that_loses_a_placeholder_is_found():
    made, translated = Catalog(), Catalog(locale="es")
    made.add("%(count)s online", locations=[("portal/views.py", 0)], flags=["python-format"])
    translated.add("%(count)s online", "%(total)s en línea", flags=["python-format"])
    (problem,) = untranslated(made, translated)
    assert "'%(count)s online'" in problem


def test_texts_of_python_and_of_templates_are_both_seen():
    places = {place.rpartition(".")[2] for message in source_catalogue() for place, _ in message.locations}
    assert {"py", "html"} <= places
