#include "digest.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the block functions read words as they lie in memory");

typedef void (*block_function)(uint32_t *state, const uint8_t *block);

static inline uint32_t rotate(uint32_t word, int bits)
{
	return (word << bits) | (word >> (32 - bits));
}

/* Adds octets to a digest of 64-octet blocks, handing each full block to `function`. */
static void add(struct digest *digest, block_function function, const void *octets, size_t length)
{
	const uint8_t *from = octets;
	size_t held = digest->length % DIGEST_BLOCK;

	digest->length += length;
	if (held) {
		size_t wanted = DIGEST_BLOCK - held;

		if (wanted > length)
			wanted = length;
		memcpy(digest->block + held, from, wanted);
		from += wanted;
		length -= wanted;
		if (held + wanted < DIGEST_BLOCK)
			return;
		function(digest->state, digest->block);
	}
	for (; length >= DIGEST_BLOCK; from += DIGEST_BLOCK, length -= DIGEST_BLOCK)
		function(digest->state, from);
	if (length)
		memcpy(digest->block, from, length);
}

/* Appends the padding: a one bit, zeros, and the length in bits in the byte order of the digest. */
static void pad(struct digest *digest, block_function function, int big_endian)
{
	uint64_t bits = digest->length * 8;
	size_t held = digest->length % DIGEST_BLOCK;

	digest->block[held++] = 0x80;
	if (held > DIGEST_BLOCK - 8) {
		memset(digest->block + held, 0, DIGEST_BLOCK - held);
		function(digest->state, digest->block);
		held = 0;
	}
	memset(digest->block + held, 0, DIGEST_BLOCK - 8 - held);
	if (big_endian)
		bits = __builtin_bswap64(bits);
	memcpy(digest->block + DIGEST_BLOCK - 8, &bits, 8);
	function(digest->state, digest->block);
}

/* ---- MD5 ---- */

static const uint32_t md5_sines[64] = {
	0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
	0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
	0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
	0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
	0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
	0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
	0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
	0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

static void md5_block(uint32_t *state, const uint8_t *block)
{
	static const int shifts[4][4] = { { 7, 12, 17, 22 }, { 5, 9, 14, 20 }, { 4, 11, 16, 23 }, { 6, 10, 15, 21 } };
	uint32_t a = state[0], b = state[1], c = state[2], d = state[3], words[16];

	memcpy(words, block, DIGEST_BLOCK);
#pragma GCC unroll 64
	for (int step = 0; step < 64; step++) {
		int round = step / 16;
		uint32_t mixed = round == 0 ? d ^ (b & (c ^ d)) : round == 1 ? c ^ (d & (b ^ c)) : round == 2 ? b ^ c ^ d : c ^ (b | ~d);
		int word = round == 0 ? step : round == 1 ? 5 * step + 1 : round == 2 ? 3 * step + 5 : 7 * step;
		uint32_t sum = a + mixed + md5_sines[step] + words[word % 16];

		a = d;
		d = c;
		c = b;
		b += rotate(sum, shifts[round][step % 4]);
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
}

static const uint32_t first_state[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };

void md5_begin(struct digest *digest)
{
	memcpy(digest->state, first_state, sizeof first_state);
	digest->length = 0;
}

void md5_add(struct digest *digest, const void *octets, size_t length)
{
	add(digest, md5_block, octets, length);
}

void md5_end(struct digest *digest, uint8_t out[MD_SIZE])
{
	pad(digest, md5_block, 0);
	memcpy(out, digest->state, MD_SIZE);
}

void hmac_md5(const void *key, size_t key_length, const void *octets, size_t length, uint8_t out[MD_SIZE])
{
	uint8_t inner[DIGEST_BLOCK], outer[DIGEST_BLOCK], shortened[DIGEST_BLOCK] = { 0 };
	struct digest digest;

	if (key_length > DIGEST_BLOCK) {
		md5_begin(&digest);
		md5_add(&digest, key, key_length);
		md5_end(&digest, shortened);
	} else {
		memcpy(shortened, key, key_length);
	}
	for (int i = 0; i < DIGEST_BLOCK; i++) {
		inner[i] = shortened[i] ^ 0x36;
		outer[i] = shortened[i] ^ 0x5c;
	}
	md5_begin(&digest);
	md5_add(&digest, inner, sizeof inner);
	md5_add(&digest, octets, length);
	md5_end(&digest, out);
	md5_begin(&digest);
	md5_add(&digest, outer, sizeof outer);
	md5_add(&digest, out, MD_SIZE);
	md5_end(&digest, out);
}

/* ---- MD4 ---- */

static void md4_block(uint32_t *state, const uint8_t *block)
{
	static const int shifts[3][4] = { { 3, 7, 11, 19 }, { 3, 5, 9, 13 }, { 3, 9, 11, 15 } };
	static const int order[3][16] = {
		{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
		{ 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15 },
		{ 0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15 },
	};
	static const uint32_t constants[3] = { 0, 0x5a827999, 0x6ed9eba1 };
	uint32_t a = state[0], b = state[1], c = state[2], d = state[3], words[16];

	memcpy(words, block, DIGEST_BLOCK);
	for (int step = 0; step < 48; step++) {
		int round = step / 16;
		uint32_t mixed = round == 0 ? d ^ (b & (c ^ d)) : round == 1 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
		uint32_t sum = a + mixed + constants[round] + words[order[round][step % 16]];

		a = d;
		d = c;
		c = b;
		b = rotate(sum, shifts[round][step % 4]);
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
}

void md4(const void *octets, size_t length, uint8_t out[MD_SIZE])
{
	struct digest digest;

	md5_begin(&digest); /* the two start alike */
	add(&digest, md4_block, octets, length);
	pad(&digest, md4_block, 0);
	memcpy(out, digest.state, MD_SIZE);
}

/* ---- SHA-1 ---- */

static void sha1_block(uint32_t *state, const uint8_t *block)
{
	uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], words[80];

	memcpy(words, block, DIGEST_BLOCK);
	for (int i = 0; i < 16; i++)
		words[i] = __builtin_bswap32(words[i]);
	for (int i = 16; i < 80; i++)
		words[i] = rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
	for (int step = 0; step < 80; step++) {
		static const uint32_t constants[4] = { 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6 };
		int round = step / 20;
		uint32_t mixed = round == 0 ? d ^ (b & (c ^ d)) : round == 2 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
		uint32_t sum = rotate(a, 5) + mixed + e + constants[round] + words[step];

		e = d;
		d = c;
		c = rotate(b, 30);
		b = a;
		a = sum;
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
	state[4] += e;
}

void sha1_begin(struct digest *digest)
{
	md5_begin(digest);
}

void sha1_add(struct digest *digest, const void *octets, size_t length)
{
	add(digest, sha1_block, octets, length);
}

void sha1_end(struct digest *digest, uint8_t out[SHA1_SIZE])
{
	pad(digest, sha1_block, 1);
	for (int i = 0; i < 5; i++)
		digest->state[i] = __builtin_bswap32(digest->state[i]);
	memcpy(out, digest->state, SHA1_SIZE);
}
