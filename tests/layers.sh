#!/bin/bash
# Fails on an include that goes up. The order is tests/layers.txt, lowest first: a file may include what stands above
# it in the list and its own header, and every module stands in the list. x_linux.c and x_mock.c count as x, and
# so does x_impl.h or x_internal.h, which the x_*.c beside it share.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

awk '
	function module(path) {
		sub(/\.[ch]$/, "", path)
		sub(/_(linux|mock|impl|internal)$/, "", path)
		return path
	}
	function room(path) { return substr(path, 1, index(path, "/") - 1) }
	function complain(what) {
		print FILENAME ":" FNR ": " what
		bad = 1
	}
	# Beyond the order: which rooms a room may see at all.
	function may_see(from, to) {
		return from == to || from == "apps" || to == "core" || (from == "relay" && to == "nat")
	}
	function check(target,    m) {
		if (target ~ /^relay\/proto\/[a-z_]+\.pb-c\.h$/) {
			if (room(FILENAME) != "relay" && room(FILENAME) != "apps")
				complain("only relay and apps may include " target)
			return
		}
		m = module(target)
		if (m == self)
			return
		if (!(m in rank))
			complain(target " is not in tests/layers.txt (includes are written \"folder/name.h\")")
		else if ((self in rank) && rank[m] > rank[self])
			complain(target " stands above " self)
		if (!may_see(room(FILENAME), room(target)))
			complain(room(FILENAME) " may not see " room(target))
	}
	FILENAME == "tests/layers.txt" {
		if (/^[^#]/) {
			if ($1 in rank)
				complain($1 " is listed twice")
			rank[$1] = ++count
		}
		next
	}
	FNR == 1 {
		self = module(FILENAME)
		files++
		if (!(self in rank))
			complain(self " is not in tests/layers.txt")
	}
	/^[ \t]*#[ \t]*include[ \t]*"/ {
		split($0, part, "\"")
		check(part[2])
	}
	/^[ \t]*#[ \t]*include[ \t]*<(sodium|wolfssl)/ && self !~ /^core\/(crypto|stream|tls)/ {
		complain("only core/crypto, core/stream and core/tls know libsodium and wolfSSL")
	}
	END {
		print files " files, " count " modules"
		exit bad || !files
	}
' tests/layers.txt $(find core nat tun relay apps -name '*.[ch]' | sort)
