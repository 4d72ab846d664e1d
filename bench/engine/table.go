package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// target is one figure of the summary and what the design wants of it.
type target struct {
	name  string
	value float64
	bound float64
	least bool // bound is the least, else the most
}

func (t target) hit() bool {
	if t.least {
		return t.value >= t.bound
	}
	return t.value > 0 && t.value <= t.bound
}

func (t target) String() string {
	sign, verdict := "≤", "MISS"
	if t.least {
		sign = "≥"
	}
	if t.hit() {
		verdict = "hit"
	}
	return fmt.Sprintf("%s\t%g\t%s %g\t%s", t.name, t.value, sign, t.bound, verdict)
}

// targets are those of the design, for this run.
func targets(s summary) []target {
	least1024 := 2.5
	if s.Compression {
		least1024 = 2
	}
	list := []target{
		{"ratio_vs_pebble_64", s.Ratio64, 2, true},
		{"ratio_vs_pebble_1024", s.Ratio1024, least1024, true},
		{"p50_vs_pebble_64", s.P50Ratio64, 0.6, false},
		{"p99_vs_pebble_64", s.P99Ratio64, 0.7, false},
		{"cpu_vs_pebble", s.CPURatio, 0.3, false},
		{"write_amplification", s.WriteAmplification, 2.5, false},
		{"write_amplification_vs_pebble", s.WriteAmplificationRatio, 0.6, false},
		{"disk_bytes_per_message", s.DiskPerMessage, 70, false},
		{"page_warm_us", s.PageWarm, 30, false},
		{"page_cold_us", s.PageCold, 200, false},
		{"page_cold_vs_pebble", s.PageColdRatio, 1, false},
	}
	if s.Full {
		list = append(list,
			target{"bytes_per_user", *s.BytesPerUser, 40, false},
			target{"reopen_s_per_gb", *s.ReopenPerGB, 0.02, false})
	}
	return list
}

// writeTables prints everything that was measured, for people.
func writeTables(w io.Writer, r *runner, s summary) {
	fmt.Fprintf(w, "\n%s, fdatasync of 4 KiB p50 %.0f µs, compression %v, %d interleaved rounds, medians\n\n",
		s.Filesystem, s.FsyncP50, s.Compression, s.Rounds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "store\tappenders\tdurable/s\tack p50 µs\tack p99 µs\tCPU µs/msg\t")
	for _, store := range r.stores {
		for _, n := range r.appenders {
			fmt.Fprintf(t, "%s\t%d\t%.0f\t%.0f\t%.0f\t%.2f\t\n", store.name, n, store.median(n, loadResult.perSecond),
				store.median(n, func(l loadResult) float64 { return l.P50 }),
				store.median(n, func(l loadResult) float64 { return l.P99 }), r.netCPU(store, n))
		}
	}
	for _, n := range r.appenders {
		fmt.Fprintf(t, "(harness)\t%d\t\t\t\t%.2f\t\n", n, r.harness[n].CPU)
	}
	_ = t.Flush()
	fmt.Fprintln(w, "\nCPU without the harness; here of everything until the store had settled. B/msg without the log, a fixed pool:")
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "store\tmessages\tfill/s\tdisk B/msg\tlog MB\tCPU µs/msg\twrite amp\tdevice amp\tcancelled MB\tRSS MB\tpeak MB\treopen s\tcold p50 µs\tp99\twarm p50 µs\tp99\t")
	for _, store := range r.stores {
		if store.messages == 0 {
			continue
		}
		fmt.Fprintf(t, "%s\t%d\t%.0f\t%.1f\t%d\t%.2f\t%.2f\t%.2f\t%d\t%d\t%d\t%.2f\t%.0f\t%.0f\t%.1f\t%.0f\t\n", store.name, store.messages,
			store.fill.perSecond(), store.diskPerMessage(), store.disk.WALBytes>>20, r.allCPU(store), store.writeAmplification(),
			over(float64(store.device), float64(store.messages*messageBytes)), store.written.CancelledWriteBytes>>20, store.written.RSSBytes>>20, store.written.PeakRSSBytes>>20,
			store.reopen, store.coldPage.P50, store.coldPage.P99, store.warmPage.P50, store.warmPage.P99)
	}
	_ = t.Flush()
	fmt.Fprintf(w, "\nDevice amp: what the disk wrote meanwhile, for whomever. Cold: by %s.", r.cold)
	if r.full {
		l := &r.large
		fmt.Fprintf(w, "\n%d users: %d MB resident (%d MB with the first %d); %d messages, %.1f GB on disk, %.1f GB written, reopened in %.2f s with %d MB resident.",
			l.Users, l.RSS>>20, l.FirstRSS>>20, r.plan.large.firstUsers, l.Messages, float64(l.Disk.Bytes)/1e9, float64(l.WriteBytes)/1e9, l.ReopenSeconds, l.RSSReopened>>20)
	}
	fmt.Fprint(w, "\n\n")
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "figure\tvalue\ttarget\t")
	for _, x := range targets(s) {
		fmt.Fprintln(t, x)
	}
	_ = t.Flush()
}
