#!/bin/bash
# What it takes to reach a peer directly through every pair of NATs: trials of the lab (tests/lab/trials.sh), one line of
# JSON each in build/traversal.jsonl. From them the table of all pairs, traversal.md beside this script, and its summary
# in README.md between the two `traversal` marks.
#
#   ./dev bench traversal [-n TRIALS] [-j WORLDS] [-l SECONDS] [--fresh] [-t] [CELL...]
#
# A CELL is KIND/KIND, or KIND for all pairs with it; default: all 78 pairs. TRIALS is how many each cell shall have (20):
# what an earlier run measured counts, so that a run that was broken off goes on; --fresh measures the named cells anew.
# WORLDS run side by side (2). SECONDS is when a trial gives up (else as limit_of says). -t makes the table only.
set -euo pipefail
cd "$(dirname "$0")/../.."
kinds=(open full-cone address-restricted port-restricted symmetric sequential sequential-down stride block-512
	block-1024 home-carrier udp-blocked)
results=build/traversal.jsonl
trials=20 worlds=2 limit="" fresh=0 table_only=0
export P2PD_BIN=${P2PD_BIN:-$PWD/build/bin}

# Where nothing can be direct only the first answer is waited for. A random NAT has a second round 30 s after the first.
limit_of() {
	case $1 in
	*udp-blocked*) echo 3 ;;
	symmetric/s* | symmetric/block-* | sequential*/block-* | stride/block-* | block-*/block-*) echo 5 ;;
	*symmetric*) echo 45 ;;
	*) echo 20 ;;
	esac
}

all_cells() {
	local i j
	for i in "${!kinds[@]}"; do
		for ((j = i; j < ${#kinds[@]}; j++)); do
			echo "${kinds[i]}/${kinds[j]}"
		done
	done
}

# The cells that the words name, each once, in the order of the table.
cells_of() {
	local cell word
	while read -r cell; do
		for word; do
			case $word in
			*/*) [ "$cell" != "$word" ] && [ "$cell" != "${word#*/}/${word%/*}" ] || echo "$cell" ;;
			*) case /$cell/ in */"$word"/*) echo "$cell" ;; esac ;;
			esac
		done
	done < <(all_cells) | uniq
}

trials_done() { grep -c "\"a\":\"${1%/*}\",\"b\":\"${1#*/}\"," $results || true; }

forget() {
	grep -v "\"a\":\"${1%/*}\",\"b\":\"${1#*/}\"," $results >$results.kept || true
	mv $results.kept $results
}

# A world is one script with namespaces of its own. Its lines come whole, so that worlds can share the file.
run_cell() {
	local cell=$1 from
	from=$(($(trials_done "$cell") + 1))
	[ "$from" -le "$trials" ] || return 0
	if ! tests/lab/trials.sh "${cell%/*}" "${cell#*/}" "$from" "$trials" "${limit:-$(limit_of "$cell")}" \
		2>"build/traversal-${cell//\//-}.log" | while read -r line; do
		case $line in
		"{"*) echo "$line" >>$results ;;
		*) echo "$line" >>"build/traversal-${cell//\//-}.log" ;;
		esac
	done; then
		echo "FAIL $cell: see build/traversal-${cell//\//-}.log"
		return 1
	fi
	python3 tests/bench/traversal_table.py cell "$cell" <$results
}

into_readme() {
	local cells
	cells=$(all_cells | paste -sd ' ')
	python3 tests/bench/traversal_table.py table "$cells" <$results >tests/bench/traversal.md
	python3 tests/bench/traversal_table.py readme "$cells" <$results >build/traversal.md
	sed -i -e '/<!-- traversal -->/,/<!-- end of traversal -->/ {
		//!d
		/<!-- traversal -->/r build/traversal.md
	}' README.md
}

words=()
while [ $# -gt 0 ]; do
	case $1 in
	-n) trials=$2 && shift ;;
	-j) worlds=$2 && shift ;;
	-l) limit=$2 && shift ;;
	-t) table_only=1 ;;
	--fresh) fresh=1 ;;
	-*)
		sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
		exit 2
		;;
	*) words+=("$1") ;;
	esac
	shift
done
mkdir -p build
touch $results
[ ${#words[@]} -gt 0 ] || words=("${kinds[@]}")
cells=$(cells_of "${words[@]}")
[ -n "$cells" ] || {
	echo "no such cell: ${words[*]}; kinds: ${kinds[*]}" >&2
	exit 2
}
failed=0
if [ $table_only = 0 ]; then
	[ $fresh = 0 ] || for cell in $cells; do forget "$cell"; done
	export -f run_cell trials_done limit_of
	export results trials limit
	xargs -P"$worlds" -I{} bash -euo pipefail -c 'run_cell {}' <<<"$cells" || failed=1
fi
into_readme
exit $failed
