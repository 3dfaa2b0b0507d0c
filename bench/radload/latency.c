#include "latency.h"

void latency_add(struct latency *latency, double seconds)
{
	uint64_t microseconds = (uint64_t)(seconds * 1e6);
	int power = 0;

	if (seconds > latency->longest)
		latency->longest = seconds;
	latency->sum += seconds;
	latency->count++;
	while (microseconds >> power >= LATENCY_STEPS && power < LATENCY_POWERS - 1)
		power++;
	latency->buckets[power * LATENCY_STEPS + (microseconds >> power) % LATENCY_STEPS]++;
}

double latency_mean(const struct latency *latency)
{
	return latency->count ? latency->sum / (double)latency->count * 1e3 : 0;
}

double latency_quantile(const struct latency *latency, double quantile)
{
	uint64_t below = (uint64_t)((double)latency->count * quantile), seen = 0;

	for (int i = 0; i < LATENCY_POWERS * LATENCY_STEPS; i++) {
		seen += latency->buckets[i];
		if (seen > below) {
			int power = i / LATENCY_STEPS;
			double middle = power ? (double)(1ULL << power) / 2 : 0.5;

			return ((double)((uint64_t)(i % LATENCY_STEPS) << power) + middle) / 1e3;
		}
	}
	return latency->longest * 1e3;
}
