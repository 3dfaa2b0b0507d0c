/*
 * radload: a bounded RADIUS load on loopback.
 *
 * One process and one thread play up to 250 NAS with many sockets of 256 identifiers each. A window of requests is kept
 * in flight (closed loop), or requests leave at a fixed rate (-R, open loop). Each request has an authenticator of its
 * own, so that a server's duplicate cache never answers for it, and the authenticator of each answer is checked. The
 * run ends after -d seconds or -n requests. Any destination but 127.0.0.0/8 is refused.
 *
 * The result is one line of JSON. `-A` logs each acknowledged Accounting-Request as "session,status,step", from which a
 * fault test knows what the server promised to have.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "latency.h"
#include "packet.h"

enum { IDENTIFIERS = 256, WINDOW_LIMIT = 16384, NAS_LIMIT = 250, NONE = -1 };
enum mode { MODE_PAP, MODE_CHAP, MODE_MSCHAP2, MODE_MIX, MODE_ACCOUNTING, MODE_STATUS, MODES };

static const char *const mode_names[MODES] = { "pap", "chap", "mschap2", "mix", "acct", "status" };

static const char usage[] =
	"radload [options]: RADIUS load on loopback, the result as one line of JSON\n"
	"  -s ADDRESS  server, in 127.0.0.0/8 (127.0.0.1)    -p PORT  (1812, accounting 1813)\n"
	"  -m MODE     pap | chap | mschap2 | mix (the three in turn) | acct | status\n"
	"  -u FILE     name,password on each line            -k SECRET  (testing123)\n"
	"  -b ADDRESS  source of the first NAS (127.0.0.1)   -c COUNT  NAS, at addresses that follow (1)\n"
	"  -w COUNT    requests in flight (64)               -T COUNT  sockets (16)\n"
	"  -d SECONDS  how long (10, at most 600)            -n COUNT  stop after so many requests\n"
	"  -W SECONDS  warm-up, not measured (0)             -R RATE  requests/s instead of a window\n"
	"  -t SECONDS  until a request is sent again (3)     -r COUNT  how often it is sent again (2)\n"
	"  -i COUNT    interim updates per session (3)       -x TEXT  prefix of Acct-Session-Id\n"
	"  -o INDEX    subscriber to begin with (0)          -O  sessions stay open: no Stop\n"
	"  -M          add Message-Authenticator             -B N  each Nth Access-Request with a wrong password\n"
	"  -A FILE     log of acknowledged accounting: session,status,step\n"
	"  -e COUNT    NAS-Port-Id attributes more           -I SECONDS  a line of progress on standard error\n";

struct options {
	const char *server, *users_file, *acknowledged_file, *prefix, *first_nas;
	enum mode mode;
	int port, window, sockets, retries, interims, wrong_every, nas_count;
	double seconds, warm_up, timeout, rate, progress;
	long requests, first_subscriber;
	bool keep_open;
	struct dialect dialect;
};

struct request {
	struct packet packet;
	double first_sent, last_sent;
	int socket, tries, session, older, newer; /* older and newer: the queue by last_sent */
	uint8_t id;
	bool wrong_password;
};

struct session { /* one live accounting session, or a free place for one */
	uint64_t subscriber, number;
	int step; /* of the next packet; NONE while the place is free */
};

struct counts {
	uint64_t sent, again, accepted, rejected, acknowledged, status, by_status[4], lost, forged, unexpected, wrong;
};

static struct options options = {
	.server = "127.0.0.1", .first_nas = "127.0.0.1", .mode = MODE_PAP, .window = 64, .sockets = 16, .retries = 2,
	.interims = 3, .nas_count = 1, .seconds = 10, .timeout = 3, .requests = 1L << 60,
	.dialect = { .secret = "testing123" },
};
static struct subscriber *subscribers;
static uint64_t subscriber_count, next_subscriber, next_session;
static struct request *requests;
static struct session *sessions;
static int *free_requests, free_request_count, *free_sessions, free_session_count, capacity;
static int oldest = NONE, newest = NONE;
static int *sockets, *by_identifier; /* [socket * 256 + identifier]: the request, or NONE */
static uint32_t *nas_of_socket;
static uint8_t *next_identifier;
static struct counts counts;
static struct latency latency;
static double measured_from;
static FILE *acknowledged_log;
static volatile sig_atomic_t stopped;

static void fail(const char *message)
{
	fprintf(stderr, "radload: %s\n", message);
	exit(2);
}

static double now(void)
{
	struct timespec instant;

	clock_gettime(CLOCK_MONOTONIC, &instant);
	return (double)instant.tv_sec + (double)instant.tv_nsec * 1e-9;
}

static double cpu_seconds(void)
{
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

/* xorshift128+: unpredictable enough for authenticators that are only to differ. */
static uint64_t random_number(void)
{
	static uint64_t state[2];
	uint64_t a, b;

	if (!state[0] && getrandom(state, sizeof state, 0) != sizeof state)
		fail("no random numbers");
	a = state[0];
	b = state[1];
	state[0] = b;
	a ^= a << 23;
	state[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
	return state[1] + b;
}

static void fresh_authenticator(uint8_t authenticator[AUTHENTICATOR])
{
	uint64_t halves[2] = { random_number(), random_number() };

	memcpy(authenticator, halves, sizeof halves);
}

/* ---- the queue of requests in flight, the longest unanswered first ---- */

static void unqueue(int index)
{
	struct request *request = &requests[index];

	if (request->older == NONE)
		oldest = request->newer;
	else
		requests[request->older].newer = request->newer;
	if (request->newer == NONE)
		newest = request->older;
	else
		requests[request->newer].older = request->older;
}

static void enqueue(int index)
{
	requests[index].newer = NONE;
	requests[index].older = newest;
	if (newest == NONE)
		oldest = index;
	else
		requests[newest].newer = index;
	newest = index;
}

/* ---- sending ---- */

static void transmit(int index, double at)
{
	struct request *request = &requests[index];

	request->last_sent = at;
	request->tries++;
	/* A refused port leaves an error behind that the next call reports once; anything else the retry covers. */
	while (send(sockets[request->socket], request->packet.octets, request->packet.length, 0) < 0)
		if (errno != EINTR && errno != ECONNREFUSED)
			break;
	enqueue(index);
}

/* Finds a socket with a free identifier, going round. */
static bool take_identifier(int index)
{
	static int turn;

	for (int tried = 0; tried < options.sockets; tried++) {
		int socket = turn;

		turn = (turn + 1) % options.sockets;
		for (int i = 0; i < IDENTIFIERS; i++) {
			uint8_t id = next_identifier[socket]++;

			if (by_identifier[socket * IDENTIFIERS + id] == NONE) {
				by_identifier[socket * IDENTIFIERS + id] = index;
				requests[index].socket = socket;
				requests[index].id = id;
				return true;
			}
		}
	}
	return false;
}

static void build_accounting(struct request *request)
{
	struct session *session = &sessions[request->session];
	struct accounting accounting = { .prefix = options.prefix };

	if (session->step == NONE) {
		session->subscriber = next_subscriber++ % subscriber_count;
		session->number = next_session++;
		session->step = 0;
	}
	accounting.number = session->number;
	accounting.step = session->step;
	accounting.status = session->step == 0 ? ACCT_START : session->step > options.interims ? ACCT_STOP : ACCT_INTERIM;
	encode_accounting(&request->packet, request->id, &options.dialect, nas_of_socket[request->socket],
			  &subscribers[session->subscriber], session->subscriber, &accounting);
}

static void build_access(struct request *request)
{
	static const enum proof proofs[MODE_MIX] = { PROOF_PAP, PROOF_CHAP, PROOF_MSCHAP2 };
	uint64_t turn = next_subscriber++, index = turn % subscriber_count;
	enum proof proof = options.mode == MODE_MIX ? (enum proof)(turn % PROOFS) : proofs[options.mode];
	uint8_t authenticator[AUTHENTICATOR];

	fresh_authenticator(authenticator);
	request->wrong_password = options.wrong_every && turn % options.wrong_every == 0;
	encode_access(&request->packet, request->id, &options.dialect, nas_of_socket[request->socket], &subscribers[index],
		      index, proof, request->wrong_password, authenticator);
}

static bool launch(double at)
{
	struct request *request;
	int index;

	if (!free_request_count || (options.mode == MODE_ACCOUNTING && !free_session_count))
		return false;
	index = free_requests[free_request_count - 1];
	if (!take_identifier(index))
		return false;
	free_request_count--;
	request = &requests[index];
	request->tries = 0;
	request->wrong_password = false;
	request->session = NONE;
	if (options.mode == MODE_ACCOUNTING) {
		request->session = free_sessions[--free_session_count];
		build_accounting(request);
	} else if (options.mode == MODE_STATUS) {
		uint8_t authenticator[AUTHENTICATOR];

		fresh_authenticator(authenticator);
		encode_status(&request->packet, request->id, &options.dialect, authenticator);
	} else {
		build_access(request);
	}
	request->first_sent = at;
	counts.sent++;
	transmit(index, at);
	return true;
}

static void release(int index)
{
	struct request *request = &requests[index];

	unqueue(index);
	by_identifier[request->socket * IDENTIFIERS + request->id] = NONE;
	free_requests[free_request_count++] = index;
	if (request->session != NONE)
		free_sessions[free_session_count++] = request->session;
}

static void send_again_or_give_up(double at, double give_up_at)
{
	while (oldest != NONE && at - requests[oldest].last_sent > options.timeout) {
		struct request *request = &requests[oldest];
		int index = oldest;

		if (request->tries <= options.retries && !stopped && at < give_up_at) {
			unqueue(index);
			counts.again++;
			transmit(index, at);
			continue;
		}
		if (request->first_sent >= measured_from)
			counts.lost++;
		if (request->session != NONE)
			sessions[request->session].step = NONE; /* as RouterOS: the packet is forgotten */
		release(index);
	}
}

/* ---- receiving ---- */

static void count_answer(const struct request *request, uint8_t code, double at)
{
	if (request->first_sent < measured_from)
		return;
	latency_add(&latency, at - request->first_sent);
	if (code == ACCESS_ACCEPT && request->packet.octets[0] == STATUS_SERVER) {
		counts.status++;
	} else if (code == ACCESS_ACCEPT) {
		counts.accepted++;
		counts.wrong += request->wrong_password;
	} else if (code == ACCESS_REJECT) {
		counts.rejected++;
		counts.wrong += !request->wrong_password;
	} else if (code == ACCOUNTING_RESPONSE && request->packet.octets[0] == STATUS_SERVER) {
		counts.status++;
	} else if (code == ACCOUNTING_RESPONSE) {
		counts.acknowledged++;
	}
}

static void step_session(struct session *session)
{
	enum status_type status = session->step == 0 ? ACCT_START : session->step > options.interims ? ACCT_STOP : ACCT_INTERIM;
	int last = options.keep_open ? options.interims : options.interims + 1;

	if (acknowledged_log)
		fprintf(acknowledged_log, "%s%llx,%d,%d\n", options.prefix, (unsigned long long)session->number, status,
			session->step);
	counts.by_status[status]++;
	session->step = session->step >= last ? NONE : session->step + 1;
}

/* Returns whether a request was answered. */
static bool receive_answer(int socket, uint8_t *answer, int length, double at)
{
	struct request *request;
	int index;

	if (length < HEADER || (index = by_identifier[socket * IDENTIFIERS + answer[1]]) == NONE) {
		counts.unexpected++;
		return false;
	}
	request = &requests[index];
	if (!answer_is_genuine(answer, length, &request->packet, &options.dialect)) {
		counts.forged++;
		return false;
	}
	count_answer(request, answer[0], at);
	if (request->session != NONE)
		step_session(&sessions[request->session]);
	release(index);
	return true;
}

/* ---- set-up ---- */

static void read_subscribers(void)
{
	FILE *file = options.users_file ? fopen(options.users_file, "r") : NULL;
	uint64_t allocated = 0;
	char line[512];

	if (!file)
		fail("-u FILE is needed and must be readable");
	while (fgets(line, sizeof line, file)) {
		char *password = strchr(line, ',');
		struct subscriber *subscriber;

		line[strcspn(line, "\r\n")] = 0;
		if (!password)
			continue;
		*password++ = 0;
		password[strcspn(password, ",")] = 0;
		if (!*line || strlen(line) > 200 || strlen(password) > 128)
			continue;
		if (subscriber_count == allocated) {
			allocated = allocated ? allocated * 2 : 1024;
			subscribers = realloc(subscribers, allocated * sizeof *subscribers);
			if (!subscribers)
				fail("out of memory");
		}
		subscriber = &subscribers[subscriber_count++];
		subscriber->name = strdup(line);
		subscriber->password = strdup(password);
		if (options.mode == MODE_MSCHAP2 || (options.mode == MODE_MIX && subscriber_count % PROOFS == 0)) {
			fresh_authenticator(subscriber->challenge);
			fresh_authenticator(subscriber->peer_challenge);
			nt_response(subscriber->challenge, subscriber->peer_challenge, subscriber->name, subscriber->password,
				    subscriber->nt_response);
		}
	}
	fclose(file);
	/* In a mix each third subscriber speaks MS-CHAPv2, the same ones each time round. */
	if (options.mode == MODE_MIX && subscriber_count > PROOFS)
		subscriber_count -= subscriber_count % PROOFS;
	if (!subscriber_count)
		fail("no subscribers in the file");
}

static void *allocate(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory)
		fail("out of memory");
	return memory;
}

static void open_sockets(int epoll)
{
	struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons((uint16_t)options.port) };
	struct in_addr first;

	if (inet_pton(AF_INET, options.server, &server.sin_addr) != 1 || ntohl(server.sin_addr.s_addr) >> 24 != 127 ||
	    inet_pton(AF_INET, options.first_nas, &first) != 1 || ntohl(first.s_addr) >> 24 != 127)
		fail("addresses must be in 127.0.0.0/8");
	for (int i = 0; i < options.sockets; i++) {
		struct sockaddr_in source = { .sin_family = AF_INET };
		struct epoll_event event = { .events = EPOLLIN, .data.u32 = (uint32_t)i };
		int room = 4 << 20;

		nas_of_socket[i] = ntohl(first.s_addr) + (uint32_t)(i % options.nas_count);
		source.sin_addr.s_addr = htonl(nas_of_socket[i]);
		sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (sockets[i] < 0 || bind(sockets[i], (struct sockaddr *)&source, sizeof source) < 0 ||
		    connect(sockets[i], (struct sockaddr *)&server, sizeof server) < 0)
			fail(strerror(errno));
		setsockopt(sockets[i], SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
		epoll_ctl(epoll, EPOLL_CTL_ADD, sockets[i], &event);
	}
}

static void prepare(void)
{
	capacity = options.rate > 0 ? WINDOW_LIMIT : options.window;
	if (options.sockets * IDENTIFIERS < capacity * 5 / 4)
		options.sockets = capacity * 5 / 4 / IDENTIFIERS + 1;
	if (options.sockets < options.nas_count)
		options.sockets = options.nas_count;
	requests = allocate(capacity, sizeof *requests);
	sessions = allocate(capacity, sizeof *sessions);
	free_requests = allocate(capacity, sizeof *free_requests);
	free_sessions = allocate(capacity, sizeof *free_sessions);
	for (int i = capacity - 1; i >= 0; i--) {
		free_requests[free_request_count++] = i;
		free_sessions[free_session_count++] = i;
		sessions[i].step = NONE;
	}
	sockets = allocate(options.sockets, sizeof *sockets);
	nas_of_socket = allocate(options.sockets, sizeof *nas_of_socket);
	next_identifier = allocate(options.sockets, sizeof *next_identifier);
	by_identifier = allocate((size_t)options.sockets * IDENTIFIERS, sizeof *by_identifier);
	memset(by_identifier, 0xff, (size_t)options.sockets * IDENTIFIERS * sizeof *by_identifier);
	next_subscriber = (uint64_t)options.first_subscriber;
}

static enum mode read_mode(const char *name)
{
	for (int mode = 0; mode < MODES; mode++)
		if (!strcmp(name, mode_names[mode]))
			return mode;
	fail(usage);
	return MODES;
}

static void read_options(int argc, char **argv)
{
	static char prefix[32];
	int letter;

	while ((letter = getopt(argc, argv, "s:p:m:k:u:b:c:w:T:d:n:W:R:t:r:i:x:o:OMB:A:e:I:h")) != -1)
		switch (letter) {
		case 's': options.server = optarg; break;
		case 'p': options.port = atoi(optarg); break;
		case 'm': options.mode = read_mode(optarg); break;
		case 'k': options.dialect.secret = optarg; break;
		case 'u': options.users_file = optarg; break;
		case 'b': options.first_nas = optarg; break;
		case 'c': options.nas_count = atoi(optarg); break;
		case 'w': options.window = atoi(optarg); break;
		case 'T': options.sockets = atoi(optarg); break;
		case 'd': options.seconds = atof(optarg); break;
		case 'n': options.requests = atol(optarg); break;
		case 'W': options.warm_up = atof(optarg); break;
		case 'R': options.rate = atof(optarg); break;
		case 't': options.timeout = atof(optarg); break;
		case 'r': options.retries = atoi(optarg); break;
		case 'i': options.interims = atoi(optarg); break;
		case 'x': options.prefix = optarg; break;
		case 'o': options.first_subscriber = atol(optarg); break;
		case 'O': options.keep_open = true; break;
		case 'M': options.dialect.message_authenticator = true; break;
		case 'B': options.wrong_every = atoi(optarg); break;
		case 'A': options.acknowledged_file = optarg; break;
		case 'e': options.dialect.padding = atoi(optarg); break;
		case 'I': options.progress = atof(optarg); break;
		default: fail(usage);
		}
	if (options.window < 1 || options.window > WINDOW_LIMIT || options.sockets < 1 || options.sockets > 512 ||
	    options.seconds <= 0 || options.seconds > 600 || options.interims < 0 || options.dialect.padding > 20 ||
	    options.nas_count < 1 || options.nas_count > NAS_LIMIT || options.first_subscriber < 0 || options.wrong_every < 0)
		fail(usage);
	if (!options.port)
		options.port = options.mode == MODE_ACCOUNTING ? 1813 : 1812;
	if (!options.prefix) {
		snprintf(prefix, sizeof prefix, "%x%lx-", (unsigned)getpid(), (long)time(NULL));
		options.prefix = prefix;
	}
	options.dialect.secret_length = strlen(options.dialect.secret);
}

/* ---- the run ---- */

static void report_progress(double elapsed)
{
	static struct counts before;

	fprintf(stderr, "t=%5.1f accepted %6lu rejected %6lu acknowledged %6lu lost %5lu again %5lu in flight %5d\n", elapsed,
		counts.accepted - before.accepted, counts.rejected - before.rejected, counts.acknowledged - before.acknowledged,
		counts.lost - before.lost, counts.again - before.again, capacity - free_request_count);
	before = counts;
}

static void print_result(double elapsed, uint64_t sent_measured, double cpu)
{
	uint64_t answered = counts.accepted + counts.rejected + counts.acknowledged + counts.status;

	printf("{\"mode\": \"%s\", \"window\": %d, \"rate\": %.0f, \"seconds\": %.3f, \"sent\": %lu, \"answered\": %lu, "
	       "\"accepted\": %lu, \"rejected\": %lu, \"acknowledged\": %lu, \"starts\": %lu, \"interims\": %lu, \"stops\": %lu, "
	       "\"lost\": %lu, \"sent_again\": %lu, \"forged\": %lu, \"unexpected\": %lu, \"wrong\": %lu, \"per_second\": %.1f, "
	       "\"mean_ms\": %.3f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f, \"max_ms\": %.3f, \"cpu_seconds\": %.3f}\n",
	       mode_names[options.mode], options.window, options.rate, elapsed, sent_measured, answered, counts.accepted,
	       counts.rejected, counts.acknowledged, counts.by_status[ACCT_START], counts.by_status[ACCT_INTERIM],
	       counts.by_status[ACCT_STOP], counts.lost, counts.again, counts.forged, counts.unexpected, counts.wrong,
	       (double)answered / elapsed, latency_mean(&latency), latency_quantile(&latency, 0.5),
	       latency_quantile(&latency, 0.99), latency_quantile(&latency, 0.999), latency.longest * 1e3, cpu);
}

static void on_signal(int number)
{
	(void)number;
	stopped = 1;
}

/* Takes what the sockets hold. Returns when the last request was answered, or `before` where none was. */
static double receive_all(int epoll, double patience, double before)
{
	struct timespec wait = { 0, (long)(patience * 1e9) };
	struct epoll_event events[64];
	int ready = epoll_pwait2(epoll, events, 64, &wait, NULL);

	for (int i = 0; i < ready; i++) {
		int socket = (int)events[i].data.u32;

		for (int taken = 0; taken < 64; taken++) {
			uint8_t answer[4096];
			ssize_t length = recv(sockets[socket], answer, sizeof answer, 0);
			double at;

			if (length < 0 && (errno == ECONNREFUSED || errno == EINTR))
				continue;
			if (length < 0)
				break;
			at = now();
			if (receive_answer(socket, answer, (int)length, at))
				before = at;
		}
	}
	return before;
}

static void run(int epoll)
{
	double start = now(), end = start + options.warm_up + options.seconds, next_send = start;
	double next_progress = start + options.progress, last_answer = 0, last_in_time = 0, cpu_before = cpu_seconds();
	double give_up_at = end + options.timeout * (options.retries + 1);
	uint64_t sent_before = 0;
	bool warm = options.warm_up <= 0;

	measured_from = start + options.warm_up;
	for (;;) {
		double at = now(), patience = 0.01;
		bool sending = !stopped && at < end && (long)counts.sent < options.requests;

		if (!warm && at >= measured_from) {
			warm = true;
			sent_before = counts.sent;
			cpu_before = cpu_seconds();
		}
		if (options.progress > 0 && at >= next_progress) {
			report_progress(at - start);
			next_progress += options.progress;
		}
		if (!sending && free_request_count == capacity)
			break;
		if (sending && options.rate > 0) {
			while (next_send <= at && (long)counts.sent < options.requests && launch(at))
				next_send += 1 / options.rate;
			if (at - next_send > 0.2)
				next_send = at; /* fell behind: no burst afterwards */
			patience = next_send - now();
			patience = patience < 0 ? 0 : patience > 0.01 ? 0.01 : patience;
		} else if (sending) {
			while ((long)counts.sent < options.requests && launch(at))
				;
		}
		send_again_or_give_up(at, give_up_at);
		last_answer = receive_all(epoll, patience, last_answer);
		if (last_answer <= end)
			last_in_time = last_answer;
	}
	print_result(last_in_time > measured_from ? last_in_time - measured_from : options.seconds, counts.sent - sent_before,
		     cpu_seconds() - cpu_before);
}

int main(int argc, char **argv)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	read_options(argc, argv);
	if (options.mode != MODE_STATUS)
		read_subscribers();
	if (options.acknowledged_file && !(acknowledged_log = fopen(options.acknowledged_file, "w")))
		fail(strerror(errno));
	prepare();
	open_sockets(epoll);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	run(epoll);
	if (acknowledged_log && fclose(acknowledged_log))
		fail("the log of acknowledged packets is incomplete");
	return counts.lost || counts.forged || counts.wrong ? 1 : 0;
}
