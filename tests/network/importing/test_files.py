"""Files of other programs: what kind each is, and the clients in it."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.rates import RateLimit
from network.importing.candidate import Candidate, Finding
from network.importing.files import recognise
from network.importing.sources import csv_file

M = 1_000_000


def read(text: str, encoding: str = "utf-8") -> list[Candidate]:
    upload = recognise({"clients.csv": text.encode(encoding)})
    assert upload is not None
    assert upload.source == "csv"
    file = csv_file.take_apart(upload.text)
    return csv_file.candidates(file, csv_file.guess_columns(file))


def findings(found: Candidate) -> set[Finding]:
    return {finding for finding, _detail in found.findings}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_encoding_and_separator_are_found_out(encoding, separator):
    lines = ["Nombre,Usuario,Contraseña", "Peña Nieto,pena,cañón", "Ana,ana,x"]
    found = read("\r\n".join(line.replace(",", separator) for line in lines), encoding)
    assert [(one.subscriber, one.name, one.password) for one in found] == [
        ("Peña Nieto", "pena", "cañón"),
        ("Ana", "ana", "x"),
    ]


def test_a_row_with_line_breaks_keeps_the_line_at_which_it_begins():
    found = read('usuario,clave,comentario\na,x,"two\nlines"\nb,y,z\n')
    assert [(one.line, one.comment) for one in found] == [(2, "two\nlines"), (4, "z")]


def test_what_does_not_fit_is_reported_and_the_others_stay():
    found = read(
        "usuario,clave,ip,mac,velocidad,vence\na,x,10.0.0.300,,,\nb,y,,zz,fast,soon\nc,z\nd,w,10.0.0.4,,20/5,31/01/2027\n"
    )
    assert [findings(one) for one in found] == [
        {Finding.BAD_ADDRESS},
        {Finding.BAD_MAC, Finding.BAD_RATE, Finding.BAD_DATE},
        {Finding.TOO_FEW_FIELDS},
        set(),
    ]
    assert (found[3].rate, found[3].paid_until) == (RateLimit(20 * M, 5 * M), date(2027, 1, 31))


def test_exports_of_other_programs_are_understood_by_their_titles():
    splynx = read(
        "ID,Status,Full name,Login,Password,Tariff,IPv4,MAC\n7,Active,Ana Núñez,ana,x,Home,10.0.0.7,4C-5E-0C-00-00-01\n"
    )
    assert (splynx[0].subscriber, splynx[0].name, splynx[0].framed_ip, splynx[0].mac, splynx[0].profile) == (
        "Ana Núñez", "ana", "10.0.0.7", "4c:5e:0c:00:00:01", "Home",
    )  # fmt: skip
    mikhmon = read("Username,Password,Profile,Comment\nvc1,vc1,1hora,vc-123\n")
    assert (mikhmon[0].name, mikhmon[0].profile) == ("vc1", "1hora")
    uisp = read(
        "First name,Last name,Phone,Street,Lat,Lng,IP address,Download speed,Upload speed\n"
        "Ana,Núñez,555-1234567,Calle 5,19.5,-99.1,10.0.0.9,20,5\n"
    )
    assert (uisp[0].access_method, uisp[0].subscriber, uisp[0].framed_ip, uisp[0].rate) == (
        "queue", "Ana Núñez", "10.0.0.9", RateLimit(20 * M, 5 * M),
    )  # fmt: skip


MIKHMON_CSV = """Username,Password,Profile,Time Limit,Data Limit,Comment
1jyd59,1jyd59,01-JOUR,,,vc-850-05.11.26-alima
ana,secreto,1-MES,30d,,2026-12-27 22:52:37
"""
UISP_CSV = """Custom ID;First name;Last name;Username;Company name;Is lead;Street;City;Country;State;ZIP code;\
Email (primary);Phone (primary);Client latitude;Client longitude;Client note;Service plan;IP address
000123;Ana;Núñez;ana@example.com;;no;Calle 5 #12;Mérida;Mexico;NO;97000;ana@example.com;999 123 4567;20.9674;-89.5926;\
azotea;Hogar 20;100.64.3.9
000124;;;;Taquería El Güero;no;Av. 7;Mérida;Mexico;YU;97000;;;;;;Negocio 50;100.64.3.10
"""
SPLYNX_CSV = """ID,Status,Portal login,Full name,Phone number,Partner,Location,Internet tariffs,IP ranges,\
Password,Street,GPS
12,Active,000012,Ana Núñez,+52 999 123 4567,Main,Mérida,Home 20,10.20.0.12,pw12,Calle 5,"20.967400,-89.592600"
13,Blocked,000013,Benito Peña,,Main,Mérida,Home 20,10.20.0.13,pw13,Calle 7,
"""


def test_the_user_list_of_mikhmon_is_known_by_its_titles():
    found = read(MIKHMON_CSV)
    assert [(one.access_method, one.name, one.password, one.profile) for one in found] == [
        ("hotspot", "1jyd59", "1jyd59", "01-JOUR"),
        ("hotspot", "ana", "secreto", "1-MES"),
    ]


def test_the_client_list_of_uisp_crm_is_known_by_its_titles():
    ana, shop = read(UISP_CSV)
    assert (ana.access_method, ana.subscriber, ana.framed_ip, ana.profile) == (
        "queue", "Ana Núñez", "100.64.3.9", "Hogar 20",
    )  # fmt: skip
    assert (ana.email, ana.phone, ana.comment, str(ana.latitude)) == (
        "ana@example.com", "999 123 4567", "azotea", "20.967400",
    )  # fmt: skip
    assert not ana.disabled, "NO is a province, Nuevo León, and not the end of a service"
    assert shop.subscriber == "Taquería El Güero"


def test_the_customer_list_of_splynx_is_known_by_its_titles():
    ana, benito = read(SPLYNX_CSV)
    assert (ana.access_method, ana.name, ana.password, ana.subscriber, ana.profile, ana.framed_ip) == (
        "pppoe", "000012", "pw12", "Ana Núñez", "Home 20", "10.20.0.12",
    )  # fmt: skip
    assert (ana.disabled, benito.disabled) == (False, True)
    assert (ana.phone, ana.address, str(ana.longitude)) == ("+52 999 123 4567", "Calle 5", "-89.592600")


@pytest.mark.parametrize(
    ("text", "program"),
    [(MIKHMON_CSV, "Mikhmon"), (UISP_CSV, "UISP CRM"), (SPLYNX_CSV, "Splynx"), ("Nombre,Usuario,Clave\n", None),
     ("Username,Password,Profile,Comment\n", None)],
)  # fmt: skip
def test_a_file_is_told_by_titles_that_one_program_only_uses(text, program):
    preset = csv_file.program_of(csv_file.take_apart(text))
    assert (preset and preset.program) == program


HOTSPOT_EXPORT = r"""# nov/27/2026 10:02:11 by RouterOS 6.49.10
# software id = ABCD-EFGH
/ip hotspot user profile
add name=1hari rate-limit=512k/2M shared-users=1
add name=BINDING
/ip hotspot user
add comment="counters and limits for trial users" disabled=no name=default-trial
add comment=up-347-10.20.19-1hariferi20ct name=AAJVX password=9857 profile=\
    1hari
add comment=vc-Hp_10M mac-address=80:AD:16:76:6E:5E name=80:AD:16:76:6E:5E \
    password=80:AD:16:76:6E:5E profile=BINDING
add comment="jan/05/2027 12:10:01" limit-uptime=1d name=vxk7q password=vxk7q \
    profile=1hari
add comment="Do\C3\B1a Mar\C3\ADa - cel 999 123 4567" disabled=yes name=maria \
    password="a b" profile=BINDING
add name=sinclave
"""


def test_the_users_of_a_hotspot_come_from_its_export_as_mikhmon_leaves_them():
    upload = recognise({"users.rsc": HOTSPOT_EXPORT.encode()})
    assert upload is not None
    assert upload.source == "hotspot"
    found = {one.name: one for one in upload.candidates or ()}
    assert list(found) == ["AAJVX", "80:AD:16:76:6E:5E", "vxk7q", "maria", "sinclave"]
    member, device, ticket, maria = (found[name] for name in list(found)[:4])
    assert (member.access_method, member.password, member.profile, member.rate, member.line) == (
        "hotspot", "9857", "1hari", RateLimit(2 * M, 512_000), 8,
    )  # fmt: skip
    assert (member.subscriber, member.phone, device.mac, device.rate) == ("AAJVX", None, "80:ad:16:76:6e:5e", None)
    assert (ticket.paid_until, ticket.comment) == (date(2027, 1, 5), "jan/05/2027 12:10:01")
    assert (maria.subscriber, maria.phone, maria.password, maria.disabled) == (
        "Doña María", "999 123 4567", "a b", True,
    )  # fmt: skip
    assert findings(found["sinclave"]) == {Finding.NO_PASSWORD}


def test_an_export_with_hidden_passwords_takes_no_mask_for_one():
    text = "/ip hotspot user\nadd name=a password=*****\nadd name=b password=***\n"
    upload = recognise({"x.rsc": text.encode()})
    assert upload is not None
    assert upload.candidates is not None
    assert [(one.password, findings(one)) for one in upload.candidates] == [(None, {Finding.MASKED_PASSWORD})] * 2


@given(st.text(max_size=400))
def test_no_hotspot_export_breaks_the_reading(text):
    recognise({"x.rsc": f"/ip hotspot user\n{text}".encode("utf-8", "surrogatepass")})


@given(st.binary(max_size=2000))
def test_no_file_whatsoever_breaks_the_reading(octets):
    upload = recognise({"x.csv": octets})
    if upload is not None and upload.source == "csv":
        file = csv_file.take_apart(upload.text)
        csv_file.candidates(file, csv_file.guess_columns(file))


USER_MANAGER_7 = r"""# 2026-11-01 10:00:00 by RouterOS 7.14.3
# software id = ABCD-1234
/user-manager limitation
add name=lim10 rate-limit-rx=2M rate-limit-tx=10M
/user-manager profile
add name=Home10 name-for-users=Home validity=unlimited
/user-manager user
add comment="Jos\C3\A9 Pe\C3\B1a - tel 555 123 4567" name=jose password="pa\"ss \\ word" shared-users=1
add attributes=Framed-IP-Address:10.9.0.7 caller-id=4C:5E:0C:12:34:56 disabled=yes group=default name=ana \
    password=007
add name=nopass
/user-manager profile-limitation
add limitation=lim10 profile=Home10
/user-manager user-profile
add profile=Home10 user=jose
"""


def test_the_export_of_user_manager_7_is_read_over_its_four_tables():
    upload = recognise({"um.rsc": USER_MANAGER_7.encode()})
    assert upload is not None
    jose, ana, nopass = upload.candidates
    assert (upload.source, jose.name, jose.password) == ("user_manager", "jose", 'pa"ss \\ word')
    assert (jose.subscriber, jose.phone, jose.profile) == ("José Peña", "555 123 4567", "Home10")
    assert jose.rate == RateLimit(10 * M, 2 * M)
    assert (ana.password, ana.framed_ip, ana.mac, ana.disabled) == ("007", "10.9.0.7", "4c:5e:0c:12:34:56", True)
    assert findings(nopass) == {Finding.NO_PASSWORD}


def test_the_export_of_user_manager_6_is_read_too():
    upload = recognise(
        {
            "um.rsc": b"/tool user-manager user\n"
            b"add customer=admin first-name=Ana last-name=Diaz password=pw username=ana"
            b' ip-address=10.1.1.1 phone="5551234"\n'
        }
    )
    assert upload is not None
    (ana,) = upload.candidates
    assert (ana.name, ana.password, ana.subscriber, ana.framed_ip, ana.phone) == (
        "ana", "pw", "Ana Diaz", "10.1.1.1", "5551234",
    )  # fmt: skip


DALORADIUS = r"""-- MySQL dump 10.13
CREATE TABLE `radcheck` (
  `id` int(11) unsigned NOT NULL AUTO_INCREMENT,
  `username` varchar(64) NOT NULL DEFAULT '',
  `attribute` varchar(64) NOT NULL DEFAULT '',
  `op` char(2) NOT NULL DEFAULT '==',
  `value` varchar(253) NOT NULL DEFAULT '',
  PRIMARY KEY (`id`),
  KEY `username` (`username`(32))
);
INSERT INTO `radcheck` VALUES (1,'ana','Cleartext-Password',':=','it\'s; (7)'),(2,'ben','MD5-Password',':=','abc'),
(3,'4C-5E-0C-00-00-01','Auth-Type',':=','Accept'),(4,'ana','Expiration',':=','31/01/2027');
INSERT INTO `radreply` (`id`,`username`,`attribute`,`op`,`value`) VALUES (1,'ana','Framed-IP-Address','=','10.0.0.7');
INSERT INTO `radusergroup` (`username`,`groupname`,`priority`) VALUES ('ana','Home',1);
INSERT INTO `radgroupreply` VALUES (1,'Home','Mikrotik-Rate-Limit',':=','5M/20M');
INSERT INTO `userinfo` (`id`,`username`,`firstname`,`lastname`,`email`,`mobilephone`,`address`,`notes`) VALUES
(1,'ana','Ana','Núñez','ana@example.com','5551234567','Calle 5',NULL);
"""


def test_a_dump_of_daloradius_is_read_without_running_it():
    upload = recognise({"dump.sql": DALORADIUS.encode()})
    assert upload is not None
    ana, ben, device = upload.candidates
    assert (upload.source, ana.password, ana.framed_ip, ana.rate) == (
        "rlm_sql", "it's; (7)", "10.0.0.7", RateLimit(20 * M, 5 * M),
    )  # fmt: skip
    assert (ana.subscriber, ana.email, ana.phone, ana.address, ana.profile) == (
        "Ana Núñez", "ana@example.com", "5551234567", "Calle 5", "Home",
    )  # fmt: skip
    assert ana.paid_until == date(2027, 1, 31)
    assert findings(ben) == {Finding.HASHED_PASSWORD}
    assert (device.access_method, device.name) == ("mac", "4c:5e:0c:00:00:01")


def test_a_dump_of_postgresql_is_read_too():
    dump = (
        "COPY public.radcheck (id, username, attribute, op, value) FROM stdin;\n"
        "1\tana\tCleartext-Password\t:=\ta\\tb\n2\tben\tCleartext-Password\t:=\tpw\n\\.\n"
        "COPY public.radreply (id, username, attribute, op, value) FROM stdin;\n"
        "1\tben\tFramed-IP-Address\t=\t10.0.0.2\n\\.\n"
    )
    upload = recognise({"dump.sql": dump.encode()})
    assert upload is not None
    assert [(one.name, one.password, one.framed_ip) for one in upload.candidates] == [
        ("ana", "a\tb", None), ("ben", "pw", "10.0.0.2"),
    ]  # fmt: skip


def test_tables_of_freeradius_come_as_csv_files_too():
    upload = recognise(
        {
            "radcheck.csv": b"id,username,attribute,op,value\n1,ana,Cleartext-Password,:=,pw\n",
            "radreply.csv": b"id,username,attribute,op,value\n1,ana,Mikrotik-Rate-Limit,:=,2M/10M\n",
        }
    )
    assert upload is not None
    (ana,) = upload.candidates
    assert (ana.name, ana.password, ana.rate) == ("ana", "pw", RateLimit(10 * M, 2 * M))


PHPNUXBILL = """
INSERT INTO `tbl_bandwidth` (`id`, `name_bw`, `rate_down`, `rate_down_unit`, `rate_up`, `rate_up_unit`) VALUES
(1, '10M', 10, 'Mbps', 2, 'Mbps');
INSERT INTO `tbl_plans` (`id`, `name_plan`, `id_bw`, `price`, `type`) VALUES (3, 'Hogar 10', 1, '250', 'PPPOE');
INSERT INTO `tbl_customers` (`id`, `username`, `password`, `pppoe_password`, `fullname`, `address`, `phonenumber`,
 `email`, `coordinates`, `service_type`, `status`) VALUES
(1, 'ana', 'portal', 'secret', 'Ana Núñez', 'Calle 5', '5551234567', 'ana@example.com', '19.432600,-99.133200', 'PPPoE',
 'Active'),
(2, 'ben', 'pw', '', 'Ben', '', '', '', '', 'Hotspot', 'Banned');
INSERT INTO `tbl_user_recharges` (`id`, `customer_id`, `username`, `plan_id`, `namebp`, `expiration`, `status`,
 `type`) VALUES
(1, 1, 'ana', 3, 'Hogar 10', '2027-01-31', 'on', 'PPPOE');
"""


def test_a_dump_of_phpnuxbill_brings_plan_and_expiry():
    upload = recognise({"nux.sql": PHPNUXBILL.encode()})
    assert upload is not None
    ana, ben = upload.candidates
    assert (ana.password, ana.profile, ana.rate, ana.paid_until) == (
        "secret", "Hogar 10", RateLimit(10 * M, 2 * M), date(2027, 1, 31),
    )  # fmt: skip
    assert (ana.subscriber, ana.phone, str(ana.latitude)) == ("Ana Núñez", "5551234567", "19.432600")
    assert (ben.access_method, ben.password, ben.disabled) == ("hotspot", "pw", True)


@pytest.mark.parametrize(
    "dump",
    [
        "INSERT INTO radcheck VALUES (1,'ana','Cleartext-Password',':=','unfinished",
        "INSERT INTO radcheck VALUES",
        "INSERT INTO radcheck SELECT * FROM x;\n",
        "COPY radcheck (id, username) FROM stdin;\n1\tana",
        "INSERT INTO radcheck VALUES (((((",
        "CREATE TABLE radcheck (",
    ],
)
def test_a_broken_dump_ends_without_an_error(dump):
    recognise({"dump.sql": dump.encode()})


def test_a_large_dump_is_read_in_time():
    tuples = ",".join(f"({n},'user{n}','Cleartext-Password',':=','pw{n}')" for n in range(20_000))
    upload = recognise({"dump.sql": f"INSERT INTO `radcheck` VALUES {tuples};\n".encode()})
    assert upload is not None
    assert len(upload.candidates) == 20_000
    assert len({one.line for one in upload.candidates}) == 20_000
