#include "packet.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "digest.h"

enum attribute {
	USER_NAME = 1,
	USER_PASSWORD = 2,
	CHAP_PASSWORD = 3,
	NAS_IP_ADDRESS = 4,
	NAS_PORT = 5,
	SERVICE_TYPE = 6,
	FRAMED_PROTOCOL = 7,
	FRAMED_IP_ADDRESS = 8,
	VENDOR_SPECIFIC = 26,
	CALLED_STATION_ID = 30,
	CALLING_STATION_ID = 31,
	NAS_IDENTIFIER = 32,
	ACCT_STATUS_TYPE = 40,
	ACCT_DELAY_TIME = 41,
	ACCT_INPUT_OCTETS = 42,
	ACCT_OUTPUT_OCTETS = 43,
	ACCT_SESSION_ID = 44,
	ACCT_AUTHENTIC = 45,
	ACCT_SESSION_TIME = 46,
	ACCT_INPUT_PACKETS = 47,
	ACCT_OUTPUT_PACKETS = 48,
	ACCT_TERMINATE_CAUSE = 49,
	ACCT_INPUT_GIGAWORDS = 52,
	ACCT_OUTPUT_GIGAWORDS = 53,
	EVENT_TIMESTAMP = 55,
	NAS_PORT_TYPE = 61,
	MESSAGE_AUTHENTICATOR = 80,
	NAS_PORT_ID = 87,
};
enum { MICROSOFT = 311, MS_CHAP_CHALLENGE = 11, MS_CHAP2_RESPONSE = 25, MS_CHAP2_RESPONSE_SIZE = 50 };
enum { FRAMED_USER = 2, PPP = 1, ETHERNET = 15, RADIUS_AUTHENTIC = 1, USER_REQUEST = 1, STEP_SECONDS = 300 };

static void add(struct packet *packet, enum attribute type, const void *value, size_t length)
{
	uint8_t *to = packet->octets + packet->length;

	to[0] = type;
	to[1] = (uint8_t)(length + 2);
	memcpy(to + 2, value, length);
	packet->length += (int)length + 2;
}

static void add_text(struct packet *packet, enum attribute type, const char *text)
{
	add(packet, type, text, strlen(text));
}

static void add_number(struct packet *packet, enum attribute type, uint32_t number)
{
	number = htonl(number);
	add(packet, type, &number, sizeof number);
}

static void add_microsoft(struct packet *packet, uint8_t type, const uint8_t *value, size_t length)
{
	uint8_t octets[6 + MS_CHAP2_RESPONSE_SIZE] = { 0, 0, MICROSOFT >> 8, MICROSOFT & 255, type, (uint8_t)(length + 2) };

	memcpy(octets + 6, value, length);
	add(packet, VENDOR_SPECIFIC, octets, 6 + length);
}

static void begin(struct packet *packet, enum code code, uint8_t id, const uint8_t *authenticator)
{
	packet->octets[0] = code;
	packet->octets[1] = id;
	if (authenticator)
		memcpy(packet->octets + 4, authenticator, AUTHENTICATOR);
	else
		memset(packet->octets + 4, 0, AUTHENTICATOR);
	packet->length = HEADER;
}

/* Message-Authenticator stands first, as newer RouterOS sends it; it is filled in by `end`. */
static uint8_t *add_message_authenticator(struct packet *packet)
{
	static const uint8_t zeros[MD_SIZE];

	add(packet, MESSAGE_AUTHENTICATOR, zeros, sizeof zeros);
	return packet->octets + packet->length - MD_SIZE;
}

static void end(struct packet *packet, const struct dialect *dialect, uint8_t *message_authenticator)
{
	packet->octets[2] = (uint8_t)(packet->length >> 8);
	packet->octets[3] = packet->length & 255;
	if (message_authenticator)
		hmac_md5(dialect->secret, dialect->secret_length, packet->octets, packet->length, message_authenticator);
	if (packet->octets[0] == ACCOUNTING_REQUEST) { /* RFC 2866 §3 */
		struct digest digest;

		md5_begin(&digest);
		md5_add(&digest, packet->octets, packet->length);
		md5_add(&digest, dialect->secret, dialect->secret_length);
		md5_end(&digest, packet->octets + 4);
	}
}

static void add_calling_station(struct packet *packet, uint64_t index)
{
	char mac[40];

	snprintf(mac, sizeof mac, "02:00:%02X:%02X:%02X:%02X", (unsigned)(index >> 24 & 255), (unsigned)(index >> 16 & 255),
		 (unsigned)(index >> 8 & 255), (unsigned)(index & 255));
	add_text(packet, CALLING_STATION_ID, mac);
}

/* RFC 2865 §5.2: the password is padded to blocks of 16 octets, each hidden by a digest of the one before. */
static void add_user_password(struct packet *packet, const struct dialect *dialect, const char *password, bool wrong,
			      const uint8_t *authenticator)
{
	uint8_t hidden[128] = { 0 }, mask[MD_SIZE];
	size_t length = strlen(password), blocks = length ? (length + 15) / 16 : 1;
	struct digest digest;

	memcpy(hidden, password, length);
	hidden[0] ^= wrong;
	for (size_t block = 0; block < blocks; block++) {
		md5_begin(&digest);
		md5_add(&digest, dialect->secret, dialect->secret_length);
		md5_add(&digest, block ? hidden + (block - 1) * 16 : authenticator, 16);
		md5_end(&digest, mask);
		for (int i = 0; i < 16; i++)
			hidden[block * 16 + i] ^= mask[i];
	}
	add(packet, USER_PASSWORD, hidden, blocks * 16);
}

/* RFC 2865 §5.3. The challenge is the Request Authenticator, as RouterOS has it. */
static void add_chap_password(struct packet *packet, const char *password, bool wrong, const uint8_t *authenticator)
{
	uint8_t response[1 + MD_SIZE];
	struct digest digest;

	response[0] = authenticator[0];
	md5_begin(&digest);
	md5_add(&digest, response, 1);
	md5_add(&digest, password, strlen(password));
	md5_add(&digest, authenticator, AUTHENTICATOR);
	md5_end(&digest, response + 1);
	response[1] ^= wrong;
	add(packet, CHAP_PASSWORD, response, sizeof response);
}

static void add_mschap2(struct packet *packet, const struct subscriber *subscriber, bool wrong)
{
	uint8_t response[MS_CHAP2_RESPONSE_SIZE] = { 1, 0 }; /* identifier, flags, peer challenge, eight zeros, response */

	memcpy(response + 2, subscriber->peer_challenge, MSCHAP_CHALLENGE);
	memcpy(response + 26, subscriber->nt_response, NT_RESPONSE);
	response[26] ^= wrong;
	add_microsoft(packet, MS_CHAP_CHALLENGE, subscriber->challenge, MSCHAP_CHALLENGE);
	add_microsoft(packet, MS_CHAP2_RESPONSE, response, sizeof response);
}

void encode_access(struct packet *packet, uint8_t id, const struct dialect *dialect, uint32_t nas,
		   const struct subscriber *subscriber, uint64_t index, enum proof proof, bool wrong_password,
		   const uint8_t authenticator[AUTHENTICATOR])
{
	uint8_t *signature = NULL;

	begin(packet, ACCESS_REQUEST, id, authenticator);
	if (dialect->message_authenticator)
		signature = add_message_authenticator(packet);
	add_number(packet, SERVICE_TYPE, FRAMED_USER);
	add_number(packet, FRAMED_PROTOCOL, PPP);
	add_number(packet, NAS_PORT, index & 0xffff);
	add_number(packet, NAS_PORT_TYPE, ETHERNET);
	add_text(packet, USER_NAME, subscriber->name);
	add_calling_station(packet, index);
	add_text(packet, CALLED_STATION_ID, "internet");
	add_text(packet, NAS_PORT_ID, "ether2");
	if (proof == PROOF_PAP)
		add_user_password(packet, dialect, subscriber->password, wrong_password, authenticator);
	else if (proof == PROOF_CHAP)
		add_chap_password(packet, subscriber->password, wrong_password, authenticator);
	else
		add_mschap2(packet, subscriber, wrong_password);
	add_text(packet, NAS_IDENTIFIER, "radload");
	add_number(packet, NAS_IP_ADDRESS, nas);
	for (int i = 0; i < dialect->padding; i++)
		add_text(packet, NAS_PORT_ID, "ether1");
	end(packet, dialect, signature);
}

void encode_accounting(struct packet *packet, uint8_t id, const struct dialect *dialect, uint32_t nas,
		       const struct subscriber *subscriber, uint64_t index, const struct accounting *accounting)
{
	uint32_t seconds = (uint32_t)accounting->step * STEP_SECONDS;
	uint8_t *signature = NULL;
	char session_id[80];

	begin(packet, ACCOUNTING_REQUEST, id, NULL);
	if (dialect->message_authenticator)
		signature = add_message_authenticator(packet);
	add_number(packet, ACCT_STATUS_TYPE, accounting->status);
	snprintf(session_id, sizeof session_id, "%s%llx", accounting->prefix, (unsigned long long)accounting->number);
	add_text(packet, ACCT_SESSION_ID, session_id);
	add_number(packet, SERVICE_TYPE, FRAMED_USER);
	add_number(packet, FRAMED_PROTOCOL, PPP);
	add_number(packet, NAS_PORT, index & 0xffff);
	add_number(packet, NAS_PORT_TYPE, ETHERNET);
	add_text(packet, USER_NAME, subscriber->name);
	add_calling_station(packet, index);
	add_text(packet, CALLED_STATION_ID, "internet");
	add_text(packet, NAS_PORT_ID, "ether2");
	add_number(packet, FRAMED_IP_ADDRESS, 0x0a000000 + (index & 0xffffff));
	add_number(packet, ACCT_AUTHENTIC, RADIUS_AUTHENTIC);
	add_number(packet, EVENT_TIMESTAMP, (uint32_t)time(NULL));
	add_number(packet, ACCT_DELAY_TIME, 0);
	if (accounting->status != ACCT_START) {
		add_number(packet, ACCT_SESSION_TIME, seconds);
		add_number(packet, ACCT_INPUT_OCTETS, seconds * 1000 + (uint32_t)accounting->number);
		add_number(packet, ACCT_OUTPUT_OCTETS, seconds * 9000 + (uint32_t)accounting->number);
		add_number(packet, ACCT_INPUT_PACKETS, seconds * 2);
		add_number(packet, ACCT_OUTPUT_PACKETS, seconds * 7);
		add_number(packet, ACCT_INPUT_GIGAWORDS, 0);
		add_number(packet, ACCT_OUTPUT_GIGAWORDS, 1);
	}
	if (accounting->status == ACCT_STOP)
		add_number(packet, ACCT_TERMINATE_CAUSE, USER_REQUEST);
	add_text(packet, NAS_IDENTIFIER, "radload");
	add_number(packet, NAS_IP_ADDRESS, nas);
	for (int i = 0; i < dialect->padding; i++)
		add_text(packet, NAS_PORT_ID, "ether1");
	end(packet, dialect, signature);
}

void encode_status(struct packet *packet, uint8_t id, const struct dialect *dialect,
		   const uint8_t authenticator[AUTHENTICATOR])
{
	begin(packet, STATUS_SERVER, id, authenticator);
	end(packet, dialect, add_message_authenticator(packet));
}

bool answer_is_genuine(uint8_t *answer, int length, const struct packet *request, const struct dialect *dialect)
{
	uint8_t claimed[AUTHENTICATOR], expected[AUTHENTICATOR];
	struct digest digest;
	int declared;

	if (length < HEADER)
		return false;
	declared = answer[2] << 8 | answer[3];
	if (declared < HEADER || declared > length)
		return false;
	memcpy(claimed, answer + 4, AUTHENTICATOR);
	memcpy(answer + 4, request->octets + 4, AUTHENTICATOR);
	md5_begin(&digest);
	md5_add(&digest, answer, declared);
	md5_add(&digest, dialect->secret, dialect->secret_length);
	md5_end(&digest, expected);
	return memcmp(claimed, expected, AUTHENTICATOR) == 0;
}
