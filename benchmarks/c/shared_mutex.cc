// SPDX-License-Identifier: MIT
// std::shared_mutex for primitives.c: the loops are here because its calls are inline C++.
#include <cstdint>
#include <new>
#include <shared_mutex>

namespace {
struct alignas(128) Lock {
	std::shared_mutex mutex;
};
}  // namespace

extern "C" {
void *shared_mutex_new() { return new (std::nothrow) Lock; }
void shared_mutex_delete(void *m) { delete static_cast<Lock *>(m); }

void shared_mutex_read_pairs(void *m, std::uint64_t n)
{
	auto &mutex = static_cast<Lock *>(m)->mutex;

	while (n--) {
		mutex.lock_shared();
		mutex.unlock_shared();
	}
}

void shared_mutex_write_pairs(void *m, std::uint64_t n)
{
	auto &mutex = static_cast<Lock *>(m)->mutex;

	while (n--) {
		mutex.lock();
		mutex.unlock();
	}
}
}
