import pytest

from crm.attributes import BadAttribute, Flaw, check_extra, dictionary, format_extra, parse_extra


@pytest.mark.parametrize(
    ("line", "stored"),
    [
        pytest.param("filter-id += kids", ("Filter-Id", "+=", "kids"), id="the dictionary's spelling"),
        pytest.param("Framed-MTU := 1480", ("Framed-MTU", ":=", "1480"), id="integer"),
        pytest.param("Service-Type = framed-user", ("Service-Type", "=", "Framed-User"), id="named value"),
        pytest.param("Mikrotik-Wireless-PSK := 'mi clave'", ("Mikrotik-Wireless-PSK", ":=", "mi clave"), id="vendor"),
        pytest.param("Framed-IP-Netmask := 255.255.255.0", ("Framed-IP-Netmask", ":=", "255.255.255.0"), id="IPv4"),
        pytest.param(
            "Framed-IPv6-Address = 2001:DB8::1", ("Framed-IPv6-Address", "=", "2001:db8::1"), id="IPv6 in lower case"
        ),
        pytest.param("Tunnel-Type:1 := VLAN", ("Tunnel-Type:1", ":=", "VLAN"), id="tag"),
        pytest.param("WISPr-Bandwidth-Max-Down := 2000000", ("WISPr-Bandwidth-Max-Down", ":=", "2000000"), id="WISPr"),
        pytest.param('Cisco-AVPair += "ip:dns=1.1.1.1"', ("Cisco-AVPair", "+=", "ip:dns=1.1.1.1"), id="= inside"),
        pytest.param("filter-id := {plan} {name}", ("Filter-Id", ":=", "{plan} {name}"), id="placeholders"),
        pytest.param(
            "WISPr-Bandwidth-Max-Down := {download}", ("WISPr-Bandwidth-Max-Down", ":=", "{download}"), id="a number's"
        ),
    ],
)
def test_an_attribute_is_stored_as_the_dictionary_spells_it(line, stored):
    assert parse_extra(line) == (stored,)


@pytest.mark.parametrize(
    ("line", "flaw"),
    [
        ("Mikrotik-Rate-Limits := 1M/1M", Flaw.UNKNOWN),
        ("Tunnel-Type:99 := VLAN", Flaw.UNKNOWN),
        ("User-Password := x", Flaw.FORBIDDEN),
        ("Cleartext-Password := x", Flaw.FORBIDDEN),
        ("Tunnel-Password := x", Flaw.FORBIDDEN),
        ("Auth-Type := Accept", Flaw.FORBIDDEN),
        ("Message-Authenticator := 0x00", Flaw.FORBIDDEN),
        ("EAP-Message := 0x01", Flaw.FORBIDDEN),
        ("MS-CHAP2-Success := 0x01", Flaw.FORBIDDEN),
        ("MS-MPPE-Send-Key := 0x01", Flaw.FORBIDDEN),
        ("Response-Packet-Type := Access-Reject", Flaw.FORBIDDEN),
        ("User-Name := somebody", Flaw.FORBIDDEN),
        ("Mikrotik-Rate-Limit := 1M/1M", Flaw.OWN_FIELD),
        ("Class := 0x01", Flaw.OWN_FIELD),
        ("Acct-Session-Id := 81c00001", Flaw.NOT_IN_ACCEPT),
        ("Simultaneous-Use := 1", Flaw.NOT_IN_ACCEPT),
        ("Framed-MTU == 1480", Flaw.OPERATOR),
        ("Framed-MTU", Flaw.OPERATOR),
        ("Framed-MTU := 4294967296", Flaw.INTEGER),
        ("Framed-MTU := plenty", Flaw.INTEGER),
        ("Framed-MTU := １４８０", Flaw.INTEGER),
        ("Framed-IP-Netmask := 2001:db8::1", Flaw.IPV4),
        ("Framed-IPv6-Address := 10.0.0.1", Flaw.IPV6),
        ("Filter-Id :=", Flaw.EMPTY),
        ("Filter-Id := " + "x" * 248, Flaw.TOO_LONG),
        ("Filter-Id := a\x00b", Flaw.TEXT),
        ("Filter-Id := {surname}", Flaw.PLACEHOLDER),
        ("Framed-MTU := {name}", Flaw.INTEGER),
        ("Framed-IP-Netmask := {service}", Flaw.IPV4),
        ("Ascend-Data-Filter := ip in forward", Flaw.UNSUPPORTED),
    ],
)
def test_what_would_break_the_answer_is_refused(line, flaw):
    with pytest.raises(BadAttribute) as refused:
        parse_extra(line)
    assert refused.value.flaw is flaw


def test_an_attribute_without_a_line_of_its_own_is_still_one_entry():
    assert check_extra([("Filter-Id", ":=", "a"), ("Filter-Id", "+=", "b")]) == (
        ("Filter-Id", ":=", "a"),
        ("Filter-Id", "+=", "b"),
    )


def test_at_most_32_attributes():
    with pytest.raises(BadAttribute) as refused:
        check_extra([("Filter-Id", "+=", str(n)) for n in range(33)])
    assert refused.value.flaw is Flaw.TOO_MANY


def test_what_is_shown_for_editing_reads_back_the_same():
    stored = parse_extra("Filter-Id += kids\n\nFramed-MTU := 1480\n")
    assert format_extra(stored) == "Filter-Id += kids\nFramed-MTU := 1480"
    assert parse_extra(format_extra(stored)) == stored


def test_the_dictionary_knows_what_routeros_speaks():
    assert dictionary()["mikrotik-rate-limit"].vendor == "Mikrotik"
    assert dictionary()["framed-ip-address"].type == "ipaddr"
