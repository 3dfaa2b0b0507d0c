"""RouterOS scripts on an emulated router: pasted, imported, and what a real terminal would make of them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from lab.routeros import Box, Caller
from lab.routeros.script_device import paste, run_import, terminal


def said(text: str, box: Box | None = None) -> list[str]:
    """Return what a script prints when it is imported; it must not fail."""
    session = terminal(box or Box())
    assert session.run_import(text) is None
    return session.output


def rows(box: Box, path: str, *names: str) -> list[tuple[str, ...]]:
    return [tuple(row.get(name) for name in names) for row in box.table(path)]


SETUP = """
# the account
/user group add name=wisp-api policy=api,read,write,test,sensitive
/user add name=wisp group=wisp-api password="A\\"PW\\$" address=10.200.0.1/32 comment=wisp
/ip service set api disabled=no port=8728 address=10.200.0.1/32

/ip firewall filter
add chain=input action=accept src-address=10.200.0.1 protocol=tcp dst-port=8728 \\
    comment=wisp
/radius remove [find comment=wisp]
/radius add service=ppp,hotspot address=10.200.0.1 secret="R SEC" timeout=3s comment=wisp
/radius/incoming/set accept=yes port=3799
/ppp aaa set use-radius=yes accounting=yes interim-update=5m
"""


@pytest.mark.parametrize("version", ["6.49.10", "7.16"])
def test_a_setup_script_does_what_the_api_would(version: str) -> None:
    box = Box(version=version)
    assert run_import(box, SETUP) is None
    assert rows(box, "/user", "name", "password", "address")[-1] == ("wisp", 'A"PW$', "10.200.0.1")
    assert rows(box, "/radius", "service", "secret", "timeout", "comment") == [("ppp,hotspot", "R SEC", "3s", "wisp")]
    assert rows(box, "/ip/firewall/filter", "dst-port", "comment") == [("8728", "wisp")]
    assert box.settings("/radius/incoming")["accept"] == "true"
    assert box.settings("/ppp/aaa")["interim-update"] == "5m"


def test_an_import_stops_at_the_first_mistake_and_says_its_line() -> None:
    box = Box(version="6.49.10")
    failure = run_import(
        box, "/user add name=a group=full\n/interface wireguard add name=wg\n/user add name=b group=full"
    )
    assert str(failure) == "bad command name wireguard (line 2 column 12)"
    assert [name for (name,) in rows(box, "/user", "name")] == ["admin", "a"]


def test_a_terminal_goes_on_with_the_line_after_a_mistake() -> None:
    box = Box()
    failures = paste(box, "/user add name=a nonsense=1\n/user add name=a group=full\n/user add name=a group=full\n")
    assert [str(each) for each in failures] == [
        "expected end of command (line 1 column 18)",
        "failure: user with the same name already exists (line 3 column 1)",
    ]
    assert [name for (name,) in rows(box, "/user", "name")] == ["admin", "a"]


def test_local_variables_last_for_a_file_but_for_only_one_line_of_a_terminal() -> None:
    script = ":local who ana\n:put $who\n:global town Mérida; :put $town\n:put $town"
    assert said(script) == ["ana", "Mérida", "Mérida"]
    session = terminal(Box())
    assert session.paste(script) == []
    assert session.output == ["", "Mérida", "Mérida"]
    assert said("{ :local a 3\n:put ($a + 4 * 2) }") == ["11"]


def test_on_error_catches_what_fails_but_not_what_does_not_parse() -> None:
    assert said(':do { /user add name=admin group=full } on-error={ :put "there already" }') == ["there already"]
    assert said(':do { :error "stop" } on-error={ :put caught }\n:put after') == ["caught", "after"]
    assert said(':onerror e in={ :error "no way" } do={ :put "it said $e" }') == ["it said no way"]
    assert said(':do { [[:parse "/interface nosuch print"]] } on-error={ :put caught }') == ["caught"]
    session = terminal(Box())
    assert str(session.run_import(":do { /interface nosuch print } on-error={ :put caught }")) == (
        "bad command name nosuch (line 1 column 18)"
    )
    assert session.output == []


@pytest.mark.parametrize(
    ("expression", "printed"),
    [
        ("(1 + 2 * 3)", "7"),
        ("(7 / 2)", "3"),
        ('("a" . "b" . (1 + 1))', "ab2"),
        ('("10" = 10)', "true"),
        ('("abc" ~ "^a.c\\$")', "true"),
        ('(!("a" = "b") && true)', "true"),
        ("(2 < 10)", "true"),
        ("(10.0.0.9 < 10.0.0.10)", "true"),
        ("(10.0.0.7 in 10.0.0.0/29)", "true"),
        ("(10.0.0.255 + 1)", "10.0.1.0"),
        ('[:len "niño"]', "4"),
        ("[:len {1;2;3}]", "3"),
        ('[:pick "abcdef" 1 3]', "bc"),
        ('[:find "abcabc" "c"]', "2"),
        ('[:typeof [:find "abc" "z"]]', "nothing"),
        ("[:typeof $unknown]", "nothing"),
        ('[:toarray "a,b"]', "a;b"),
        ('[:tonum "42"]', "42"),
        ('({"x"=5; "y"={1;2}}->"x")', "5"),
        ("[:tostr {1;2}]", "1;2"),
        ('"$(1 + 1) and $[:len "abc"] and \\$x \\"q\\" \\41"', '2 and 3 and $x "q" A'),
        ("[/system resource get version]", "7.16 (stable)"),
        ("[/ip service get api port]", "8728"),
        ("[/ip service get [find name=api] port]", "8728"),
        ("[:len [/ip service find where port<100 and !disabled]]", "4"),
        ('[/interface print count-only where name~"ether" && !disabled]', "5"),
        ("[:resolve 127.0.0.1]", "127.0.0.1"),
        ("[/ping 10.0.0.1 count=2 interval=0.01]", "2"),
    ],
)
def test_expressions_are_worth_what_they_are_on_a_router(expression: str, printed: str) -> None:
    assert said(f":put {expression}")[-1] == printed


def test_a_condition_must_be_true_or_false() -> None:
    box = Box()
    assert str(run_import(box, ":if (1) do={}")) == "conditional not boolean (line 1 column 1)"
    assert str(run_import(box, ":if ([/user find]) do={}")) == "conditional not boolean (line 1 column 1)"
    assert said(":if ($nothing) do={ :put yes } else={ :put no }") == ["false"]
    assert said(':if ([/ip service get api disabled]) do={ :put "off" } else={ :put "on" }') == ["on"]


def test_loops_go_over_rows_arrays_and_numbers() -> None:
    names = said(":foreach i in=[/ip service find where !disabled] do={ :put [/ip service get $i name] }")
    assert names[:3] == ["telnet", "ftp", "www"]
    assert said(':foreach k,v in={"a"=1;"b"=2} do={ :put "$k is $v" }') == ["a is 1", "b is 2"]
    assert said(":for i from=3 to=1 step=-1 do={ :put $i }") == ["3", "2", "1"]
    assert said(
        ":local n 0\n:while ($n < 3) do={ :set n ($n + 1) }\n:do { :set n ($n * 2) } while=($n < 20)\n:put $n"
    ) == ["24"]


def test_a_function_in_a_variable_can_be_called() -> None:
    assert said(":local double do={ :return ($1 * 2) }\n:put [$double 21]") == ["42"]
    assert said(':local greet do={ :return "hola $name" }\n:put [$greet name=Ana]') == ["hola Ana"]


def test_rows_are_named_by_id_by_name_and_by_place_and_finding_none_is_no_mistake() -> None:
    box = Box()
    script = """
/ip firewall filter
add chain=input action=drop comment=last
add chain=input action=accept comment="wisp first" place-before=0
add chain=forward action=accept comment=wisp-2
move [find comment=wisp-2] 0
set 2 log=yes
disable [find comment~"^wisp" and chain=input]
remove [find comment="not here"]
/ip service disable telnet,ftp
/ip service set [find name=www] disabled=yes
"""
    assert run_import(box, script) is None
    rules = [(row["comment"], row.is_true("log"), row.is_true("disabled")) for row in box.table("/ip/firewall/filter")]
    assert rules == [("wisp-2", False, False), ("wisp first", False, True), ("last", True, False)]
    assert [row["name"] for row in box.table("/ip/service") if row.is_true("disabled")] == [
        "telnet",
        "ftp",
        "www",
        "www-ssl",
    ]
    assert "no such item" in str(run_import(box, "/ip service disable nosuch"))
    assert "no such item" in str(run_import(box, ":put [/user get [find name=nobody] group]"))


def test_a_variable_named_like_a_field_is_that_field_inside_find() -> None:
    box = Box()
    assert said(":local name admin\n:put [:len [/ip service find where name=$name]]", box) == ["8"]
    assert said(":local wanted api\n:put [:len [/ip service find where name=$wanted]]", box) == ["1"]


def test_menus_and_commands_may_be_shortened_while_they_are_unambiguous() -> None:
    box = Box()
    assert run_import(box, "/ip fire nat a chain=srcnat act=masquerade") is None
    assert rows(box, "/ip/firewall/nat", "chain", "action") == [("srcnat", "masquerade")]
    assert "bad command name s" in str(run_import(box, "/s print"))


def test_octets_of_an_old_code_page_stay_as_they_are() -> None:
    box = Box()
    assert run_import(box, '/ppp secret add name="Pe\\F1a" password="\\"\\_\\5C"') is None
    row = box.table("/ppp/secret").first()
    assert row is not None
    assert row["name"].encode("utf-8", "surrogateescape") == b"Pe\xf1a"
    assert row["password"] == '" \\'


def test_a_script_has_the_rights_of_who_runs_it() -> None:
    box = Box()
    reader = Caller("eve", frozenset({"read"}))
    (failure,) = paste(box, "/user add name=x group=full", reader)
    assert failure.message == "not enough permissions (9)"


def test_a_mistake_inside_a_block_leaves_the_rest_of_it_to_the_terminal() -> None:
    box = Box()
    failures = paste(
        box, ':if (true) do={\n  /user add name=a nonsense=1\n  /user add name=b group=full\n}\n:put "end"'
    )
    assert [failure.line for failure in failures] == [2, 4]
    assert [name for (name,) in rows(box, "/user", "name")] == ["admin", "b"]


def test_stored_scripts_and_imported_files_run() -> None:
    box = Box()
    assert run_import(box, '/system script add name=hello source={ :log info "hola"; :put hi }') is None
    assert said("/system script run hello", box) == ["hi"]
    assert box.table("/log").find(message="hola")
    box.table("/file").put({"name": "setup.rsc", "contents": "/user add name=a group=full\n/nosuch\n"})
    failure = run_import(box, "/import setup.rsc")
    assert failure is not None
    assert failure.message == "bad command name nosuch (line 2 column 2)"
    assert "File does not exist" in str(run_import(box, "/import other.rsc"))


@contextmanager
def web_server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/hotspot/login.html?nas=7"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write("<html>señal</html>".encode() if found else b"")

        def log_message(self, *said: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_fetch_brings_a_page_into_a_file() -> None:
    box = Box()
    with web_server() as address:
        script = f'/tool fetch url="{address}/hotspot/login.html\\?nas=7" dst-path=hotspot/login.html'
        assert run_import(box, script) is None
        (missing,) = paste(box, f'/tool fetch url="{address}/else"')
    assert box.table("/file").find(name="hotspot/login.html", contents="<html>señal</html>")
    assert "<404 Not Found>" in missing.message
    (refused,) = paste(box, f'/tool fetch url="{address}/else"')
    assert refused.message == "failure: connection refused"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (':put "no end', "expected closing quote (line 1 column 6)"),
        (":if (1 = 1 do={}", "syntax error (line 1 column 12)"),
        (":put [/user find", "expected closing bracket (line 1 column 6)"),
        (":if (true) do={ :put x", "expected closing brace (line 1 column 15)"),
        ("/ip address add address=$x/24", "expected end of command (line 1 column 27)"),
        ("/user", None),
        (":put (1 / 0)", "division by zero (line 1 column 1)"),
        (':put "bad \\q"', "syntax error (line 1 column 11)"),
        (":set never 1", "variable never is not declared (line 1 column 1)"),
    ],
)
def test_what_does_not_parse_or_work_is_said_with_its_place(script: str, message: str | None) -> None:
    failure = run_import(Box(), script)
    assert (None if failure is None else str(failure)) == message
