package ws

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/klauspost/compress/flate"
)

// BenchmarkInflate compares the inflater with the library's, which pulls.
func BenchmarkInflate(b *testing.B) {
	for _, i := range []int{6, 8} {
		body := samples()[i][:min(len(samples()[i]), 16<<10)]
		data := deflated(NewDeflater(1, 6), body)
		b.Run(strconv.Itoa(len(body)), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			var f inflater
			var out []byte
			for b.Loop() {
				f.reset()
				out, _ = f.push(out[:0], data, 1<<20)
				if out, _ = f.push(out, syncTail, 1<<20); len(out) != len(body) {
					b.Fatal(len(out))
				}
			}
		})
		b.Run("Pull"+strconv.Itoa(len(body)), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			whole := append(slices.Clone(data), "\x00\x00\xff\xff\x01\x00\x00\xff\xff"...)
			in := bytes.NewReader(whole)
			r := flate.NewReader(in)
			out := make([]byte, len(body)+1)
			for b.Loop() {
				in.Reset(whole)
				_ = r.(flate.Resetter).Reset(in, nil)
				n := 0
				for {
					m, err := r.Read(out[n:])
					if n += m; err != nil {
						break
					}
				}
				if n != len(body) {
					b.Fatal(n)
				}
			}
		})
	}
}

func BenchmarkDeflate(b *testing.B) {
	for _, level := range []int{1, 3, 6, 9} {
		d := NewDeflater(1, level)
		for _, size := range []int{300, 5000} {
			body := samples()[7][:size]
			b.Run(fmt.Sprintf("Level%d/%d", level, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				var out []byte
				for b.Loop() {
					out = d.AppendFrame(out[:0], Binary, body, WindowBitsMax)
				}
				b.ReportMetric(float64(len(out))/float64(size), "ratio")
			})
		}
	}
}
