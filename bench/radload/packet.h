/*
 * RADIUS packets as a RouterOS NAS sends them: Access-Request (RFC 2865), Accounting-Request (RFC 2866) and
 * Status-Server (RFC 5997), and the check of the answer's authenticator.
 */
#ifndef RADLOAD_PACKET_H
#define RADLOAD_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mschap.h"

enum { PACKET_SIZE = 1024, HEADER = 20, AUTHENTICATOR = 16 };
enum code {
	ACCESS_REQUEST = 1,
	ACCESS_ACCEPT = 2,
	ACCESS_REJECT = 3,
	ACCOUNTING_REQUEST = 4,
	ACCOUNTING_RESPONSE = 5,
	STATUS_SERVER = 12,
};
enum status_type { ACCT_START = 1, ACCT_STOP = 2, ACCT_INTERIM = 3 };
enum proof { PROOF_PAP, PROOF_CHAP, PROOF_MSCHAP2, PROOFS };

/* One subscriber. The MS-CHAPv2 exchange is worked out once, since DES would cost the generator more than the rest. */
struct subscriber {
	char *name, *password;
	uint8_t challenge[MSCHAP_CHALLENGE], peer_challenge[MSCHAP_CHALLENGE], nt_response[NT_RESPONSE];
};

/* What all packets of a run have in common. */
struct dialect {
	const char *secret;
	size_t secret_length;
	bool message_authenticator; /* on Access-Request and Accounting-Request; Status-Server always has it */
	int padding;		    /* this many NAS-Port-Id more, to see what a longer packet costs */
};

struct packet {
	uint8_t octets[PACKET_SIZE];
	int length;
};

/* One accounting packet: `number` is the session's, `step` 0 is its Start. A step is five minutes of traffic. */
struct accounting {
	const char *prefix;
	uint64_t number;
	int step;
	enum status_type status;
};

void encode_access(struct packet *packet, uint8_t id, const struct dialect *dialect, uint32_t nas,
		   const struct subscriber *subscriber, uint64_t index, enum proof proof, bool wrong_password,
		   const uint8_t authenticator[AUTHENTICATOR]);
void encode_accounting(struct packet *packet, uint8_t id, const struct dialect *dialect, uint32_t nas,
		       const struct subscriber *subscriber, uint64_t index, const struct accounting *accounting);
void encode_status(struct packet *packet, uint8_t id, const struct dialect *dialect,
		   const uint8_t authenticator[AUTHENTICATOR]);

/*
 * Whether `answer` is well formed and signed for this request (Response Authenticator, RFC 2865 §3). Overwrites the
 * answer's authenticator. `length` is what the socket returned; octets after the packet's own length are padding.
 */
bool answer_is_genuine(uint8_t *answer, int length, const struct packet *request, const struct dialect *dialect);

#endif
