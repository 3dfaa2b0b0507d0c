/* A histogram of latencies: 64 steps to each power of two of microseconds, so every quantile is right within 1.6 %. */
#ifndef RADLOAD_LATENCY_H
#define RADLOAD_LATENCY_H

#include <stdint.h>

enum { LATENCY_STEPS = 64, LATENCY_POWERS = 32 };

struct latency {
	uint64_t buckets[LATENCY_POWERS * LATENCY_STEPS], count;
	double sum, longest; /* seconds */
};

void latency_add(struct latency *latency, double seconds);
double latency_mean(const struct latency *latency);			  /* milliseconds */
double latency_quantile(const struct latency *latency, double quantile); /* milliseconds */

#endif
