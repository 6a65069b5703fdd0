#!/bin/bash
# Fails on a function or file that is too long: no function over 100 lines, median <= 12, 95 % of them <= 55, no file
# over 600. Works because clang-format puts a function's braces in the first column.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

files=$(find core nat tun relay apps tests -name '*.[ch]' | sort)

functions() {
	awk '
		/^[a-z].*\(/ { name = $0 }
		/^{$/ { start = FNR }
		/^}$/ && start {
			sub(/\(.*/, "", name)
			sub(/.*[ *]/, "", name)
			print FNR - start + 1, FILENAME ":" start, name
			start = 0
		}' "$@"
}

all=$(functions $(grep -v '^tests/' <<<"$files"))
tests=$(functions $(grep '^tests/' <<<"$files"))
lengths=$(cut -d' ' -f1 <<<"$all" | sort -n)
count=$(wc -l <<<"$lengths")
median=$(sed -n "$(((count + 1) / 2))p" <<<"$lengths")
most=$(sed -n "$(((count * 95 + 99) / 100))p" <<<"$lengths")
long=$(awk '$1 > 100 { print $2 ": " $3 " has " $1 " lines" }' <<<"$all
$tests")
long+=$(wc -l $files | awk '$1 > 600 && $2 != "total" { print "\n" $2 ": " $1 " lines" }')

echo "$count functions: median $median lines, 95th percentile $most, longest $(tail -1 <<<"$lengths")"
[[ -z $long ]] || echo "$long"
((median <= 12 && most <= 55)) && [[ -z $long ]]
