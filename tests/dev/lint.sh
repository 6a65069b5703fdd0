# The checks that need no running. Sourced by ./dev.

own_files() {
	find core nat tun relay apps tests -name '*.[ch]' | sort
}

product_sources() {
	find core nat tun relay apps -name '*.c' | sort
}

# lint_all [--fix]: with --fix, clang-format mends what it can first.
lint_all() {
	start_results
	[[ ${1:-} != --fix ]] || own_files | xargs clang-format -i
	mkdir -p "$logs/lint"
	lint_one format lint_format
	lint_one layers tests/layers.sh
	lint_one sizes tests/sizes.sh
	lint_one shell lint_shell
	lint_one cppcheck lint_cppcheck
	lint_one clang-tidy lint_tidy
	report
}

lint_one() {
	local name=$1 log=$logs/lint/$1.log
	say "Checking: $name"
	if "${@:2}" >"$log" 2>&1; then
		echo "ok $name"
	else
		grep ' error: ' "$log" || cat "$log"
		echo "FAIL $name: see build/test-logs/lint/$name.log"
	fi | record lint
}

lint_format() {
	local file bad=0
	for file in $(own_files); do
		clang-format "$file" | cmp -s - "$file" && continue
		echo "$file is not as clang-format would have it: ./dev lint --fix"
		bad=1
	done
	return $bad
}

lint_shell() {
	local file bad=0
	for file in dev .ci/run $(find tools tests -name '*.sh') $(grep -lIrm1 '^#!/bin/bash' tests || true); do
		bash -n "$file" || bad=1
	done
	return $bad
}

# internalAstError: its parser stumbles over a compound literal between ? and :.
lint_cppcheck() {
	product_sources | cppcheck --file-list=- --quiet --std=c11 -D_GNU_SOURCE -I. -j"$(jobs_allowed)" \
		--enable=warning,performance,portability --inline-suppr --error-exitcode=1 --max-configs=4 \
		--suppress=missingInclude --suppress=unknownMacro --suppress=internalAstError
}

# clang-tidy reads a clang build's commands and the generated headers, nothing needs compiling. Debug, because an
# assert tells the analyzer what holds.
lint_tidy() {
	(configure build/lint -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug && make_in build/lint generated) || return 1
	product_sources | xargs -r -P"$(jobs_allowed)" -n4 clang-tidy --quiet -p build/lint
}
