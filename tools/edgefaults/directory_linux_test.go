package main

import "testing"

func TestAMetricIsReadByItsWholeName(t *testing.T) {
	page := "# HELP a_b what\n# TYPE a_b gauge\na_b_total 3\na_b 7\na_c 1.5e+06\n"
	f := func(name string, want int, there bool) {
		t.Helper()
		if got, ok := metric(page, name); got != want || ok != there {
			t.Errorf("%s is %d (%v), want %d (%v)", name, got, ok, want, there)
		}
	}
	f("a_b", 7, true)
	f("a_b_total", 3, true)
	f("a_c", 1500000, true)
	f("a", 0, false)
}

func TestWhatGrewIsCountedByKind(t *testing.T) {
	kinds, all := since(map[string]int{"get": 2, "scan": 5}, map[string]int{"get": 4, "scan": 5, "1pc": 3})
	if all != 5 || len(kinds) != 2 || kinds["get"] != 2 || kinds["1pc"] != 3 {
		t.Error(kinds, all)
	}
}
