/*
 * The peer's half of MS-CHAPv2 (RFC 2759): the NT-Response that a PPP client sends, and RouterOS passes on as
 * MS-CHAP2-Response (RFC 2548 §2.3.2).
 */
#ifndef RADLOAD_MSCHAP_H
#define RADLOAD_MSCHAP_H

#include <stdint.h>

enum { MSCHAP_CHALLENGE = 16, NT_RESPONSE = 24 };

/* GenerateNTResponse (RFC 2759 §8.1). `password` is ASCII of at most 128 octets. */
void nt_response(const uint8_t authenticator_challenge[MSCHAP_CHALLENGE], const uint8_t peer_challenge[MSCHAP_CHALLENGE],
		 const char *name, const char *password, uint8_t response[NT_RESPONSE]);

#endif
