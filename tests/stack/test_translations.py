import pytest
from babel.messages.catalog import Catalog

from core.i18n import DECLARED, Language, declared_languages
from stack import translations
from stack.translations import Area, UnknownArea, catalogue_file, owed_by, source_catalogue, untranslated


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


def test_a_language_of_one_area_owes_what_stands_there_and_what_is_listed_of_other_files():
    made = source("Suspend", "Needed.")
    made.add("Connect", locations=[("portal/captive/login.py", 0)])
    made.add(("%(num)s place", "%(num)s places"), locations=[("portal/captive/buy.py", 0)])
    areas = {"captive": Area(("portal/captive/",), frozenset({"Needed."}))}
    owed = owed_by(Language("xx", "Xish", ("captive",)), made, areas)
    assert list(untranslated(owed, catalogue(Connect="Xonnect"))) == [
        "portal/views.py: 'Needed.' has no translation",
        "portal/captive/buy.py: '%(num)s place' has no translation",
    ]
    assert owed_by(Language("xx", "Xish"), made, areas) is made, "without areas, all of it"


@pytest.mark.parametrize(
    ("language", "said"),
    [
        pytest.param(Language("xx", "Xish", ("moon",)), "there is no area 'moon'", id="an area that nobody knows"),
        pytest.param(Language("xx", "Xish", ("old",)), "Gone.", id="a text that the source has no more"),
    ],
)
def test_a_declaration_of_what_does_not_exist_is_refused(language, said):
    areas = {"old": Area((), frozenset({"Gone."}))}
    with pytest.raises(UnknownArea, match=said):
        owed_by(language, source("Suspend"), areas)


def test_every_area_is_one_of_the_source_and_a_declared_language_has_a_catalogue():
    whole = source_catalogue()
    for language in DECLARED.values():
        assert catalogue_file(language.code).exists()
        assert len(owed_by(language, whole)) > 100


def test_a_language_is_added_by_a_directory_alone(tmp_path):
    for code, text in (("qq", 'name = "Qish"\nareas = ["captive"]\n'), ("aa", 'name = "Aish"\n')):
        (tmp_path / code).mkdir()
        (tmp_path / code / "language.toml").write_text(text)
    assert list(declared_languages(tmp_path)) == [Language("aa", "Aish"), Language("qq", "Qish", ("captive",))]


def test_check_fails_where_a_declared_area_lacks_a_text_or_has_a_foreign_one(monkeypatch, capsys):
    limited = Language("xx", "Xish", ("captive",))
    made = source("Suspend")
    made.add("Connect", locations=[("portal/captive/login.py", 0)])
    monkeypatch.setattr(translations, "AREAS", {"captive": Area(("portal/captive/",))})
    monkeypatch.setattr(translations, "DECLARED", {"xx": limited})
    monkeypatch.setattr(translations, "source_catalogue", lambda: made)
    for known, status, said in (
        ({}, 1, "'Connect' has no translation"),
        ({"Connect": "Xonnect", "Suspend": "Xuspend"}, 1, "'Suspend' is of no area"),
        ({"Connect": "Xonnect"}, 0, "xx: 1 texts of captive, 0 problems"),
    ):
        monkeypatch.setattr(translations, "read_catalogue", lambda language, known=known: catalogue(**known))
        assert translations.check() == status
        assert said in capsys.readouterr().out
