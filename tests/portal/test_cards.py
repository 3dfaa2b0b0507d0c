"""Lists on phones: what each cell is known by when its row is a card."""

from markupsafe import Markup

from portal.cards import cards

HEAD = '<table class="portal-list"><thead><tr><th>Issued</th><th><a href="?sort=n">Number <i></i></a></th><th></th>'
LIST = Markup(HEAD + "</tr></thead><tbody>{}</tbody></table>")


def row(cells: str) -> str:
    """The row of a list that holds these cells, as the filter leaves it."""
    shown = cards(LIST.format(Markup(f"<tr>{cells}</tr>")))
    return shown.partition("<tbody><tr>")[2].partition("</tr>")[0]


def test_what_leads_to_the_row_heads_its_card_and_the_rest_says_its_column():
    assert row('<td class="x">1 May</td><td><a href="/7">7</a></td><td><b>late</b></td>') == (
        '<td class="x" data-title="Issued">1 May</td><td data-heading><a href="/7">7</a></td><td><b>late</b></td>'
    )


def test_a_button_is_no_heading_and_without_a_link_the_first_cell_is():
    assert row('<td>1 May</td><td><a class="btn btn-sm" href="/7">Do</a></td>') == (
        '<td data-heading>1 May</td><td data-title="Number"><a class="btn btn-sm" href="/7">Do</a></td>'
    )


def test_what_phones_are_not_shown_heads_nothing():
    assert row('<td class="portal-wide"><a href="/7">7</a></td><td><a href="/7">Roof</a></td>') == (
        '<td class="portal-wide" data-title="Issued"><a href="/7">7</a></td><td data-heading><a href="/7">Roof</a></td>'
    )


def test_a_cell_with_nothing_in_it_is_left_out_of_the_card():
    assert row("<td>1 May</td><td>\n </td><td>–</td>") == (
        "<td data-heading>1 May</td><td data-nothing>\n </td><td data-nothing>–</td>"
    )


def test_a_column_called_like_markup_stays_text():
    table = Markup("<table><thead><tr><th>{}</th><th>{}</th></tr></thead><tr><td>1</td><td>2</td></tr></table>")
    shown = cards(table.format("Plan", '"><script>'))
    assert '<td data-title="&#34;&gt;&lt;script&gt;">2</td>' in shown
    assert "<script>" not in shown
