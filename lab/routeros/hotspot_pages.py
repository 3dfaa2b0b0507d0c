"""The pages of a hotspot's servlet: RouterOS's template language, its variables, and the pages it comes with.

`$(name)` is a variable as it is, `$(name-esc)` the same for an address; `$(if …)`, `$(elif …)`, `$(else)` and
`$(endif)` choose. Between `$(if http-status == 302)` and `$(endif)` stands the status of the answer, between
`$(if http-header == "Location")` and `$(endif)` a header (RouterOS manual, Hotspot customisation). Nothing is escaped
for HTML: what a page shows of a variable it shows as it came.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

_TOKEN = re.compile(r"\$\(([^()]*)\)")
_SETS = re.compile(r"(http-status|http-header) == [\"']?([^\"']+?)[\"']?\Z")
_COMPARES = re.compile(r"([\w-]+) (==|!=) '([^']*)'\Z")

LOGIN = """<html><body><h1>$(identity)</h1>$(if error)<p class="error">$(error)</p>$(endif)
$(if trial == 'yes')<a href="$(link-login-only)?dst=$(link-orig-esc)&username=T-$(mac-esc)">trial</a>$(endif)
<form action="$(link-login-only)" method="post"><input type="hidden" name="dst" value="$(link-orig)">
<input name="username" value="$(username)"><input name="password" type="password"><button>OK</button></form>
</body></html>"""
ALOGIN = """$(if http-status == 302)Hotspot login required$(endif)\
$(if http-header == "Location")$(link-redirect)$(endif)\
<html><body><a href="$(link-redirect)">continue</a></body></html>"""
STATUS = """<html><body><p>$(username)</p><p>$(ip)</p><p>$(bytes-in-nice) / $(bytes-out-nice)</p>
$(if session-time-left)<p>$(session-time-left)</p>$(endif)<form action="$(link-logout)"><button>log off</button></form>
</body></html>"""
LOGOUT = '<html><body>You have just logged out.<a href="$(link-login)">log in</a></body></html>'
PAGES = {"login.html": LOGIN, "alogin.html": ALOGIN, "status.html": STATUS, "logout.html": LOGOUT}


@dataclass(slots=True)
class Page:
    """An answer of the servlet."""

    text: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def octal(octets: bytes) -> str:
    r"""Return octets as `$(chap-id)` and `$(chap-challenge)` print them: `\357\015…`."""
    return "".join(f"\\{one:03o}" for one in octets)


def render(template: str, variables: Mapping[str, str]) -> Page:
    """Fill a page in. A variable that does not exist is empty."""
    page = Page("")
    out: list[str] = []
    keeps = [True]  # whether what stands at each depth of conditions is kept
    decided: list[bool] = []  # whether a branch of that depth was taken
    setting: list[tuple[str, str, int] | None] = []  # what an `if` of that depth sets, and where its text begins
    place = 0
    for found in _TOKEN.finditer(template):
        if keeps[-1]:
            out.append(template[place : found.start()])
        place = found.end()
        word, _, rest = found[1].partition(" ")
        if word == "if":
            sets = _SETS.match(rest)
            true = sets is not None or _holds(rest, variables)
            setting.append((sets[1], sets[2], len(out)) if sets is not None and keeps[-1] else None)
            decided.append(true)
            keeps.append(keeps[-1] and true)
        elif word in ("elif", "else") and decided:
            true = not decided[-1] and (word == "else" or _holds(rest, variables))
            decided[-1] = decided[-1] or true
            keeps[-1] = keeps[-2] and true
        elif word == "endif" and decided:
            keeps.pop()
            decided.pop()
            begun = setting.pop()
            if begun is not None:
                _set(page, begun[0], begun[1], "".join(out[begun[2] :]))
                del out[begun[2] :]
        elif keeps[-1]:
            out.append(_value(found[1], variables))
    if keeps[-1]:
        out.append(template[place:])
    page.text = "".join(out)
    return page


def _set(page: Page, what: str, name: str, text: str) -> None:
    if what == "http-status":
        page.status = int(name)
    else:
        page.headers[name] = text


def _holds(condition: str, variables: Mapping[str, str]) -> bool:
    compared = _COMPARES.match(condition.strip())
    if compared is None:
        return _value(condition.strip(), variables) not in ("", "no", "false")
    return (_value(compared[1], variables) == compared[3]) is (compared[2] == "==")


def _value(name: str, variables: Mapping[str, str]) -> str:
    if name in variables:
        return variables[name]
    if name.endswith("-esc"):
        return quote(variables.get(name.removesuffix("-esc"), ""), safe="")
    return ""
