/*
 * The digests RADIUS is made of: MD5 (RFC 1321) for authenticators, HMAC-MD5 (RFC 2104) for Message-Authenticator,
 * MD4 (RFC 1320) and SHA-1 (RFC 3174) for MS-CHAP. Kept here so that the generator needs a C compiler and nothing else.
 */
#ifndef RADLOAD_DIGEST_H
#define RADLOAD_DIGEST_H

#include <stddef.h>
#include <stdint.h>

enum { MD_SIZE = 16, SHA1_SIZE = 20, DIGEST_BLOCK = 64 };

struct digest {
	uint32_t state[5];
	uint64_t length;
	uint8_t block[DIGEST_BLOCK];
};

void md5_begin(struct digest *digest);
void md5_add(struct digest *digest, const void *octets, size_t length);
void md5_end(struct digest *digest, uint8_t out[MD_SIZE]);

void hmac_md5(const void *key, size_t key_length, const void *octets, size_t length, uint8_t out[MD_SIZE]);

void md4(const void *octets, size_t length, uint8_t out[MD_SIZE]);

void sha1_begin(struct digest *digest);
void sha1_add(struct digest *digest, const void *octets, size_t length);
void sha1_end(struct digest *digest, uint8_t out[SHA1_SIZE]);

#endif
