package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// faultsBodyMax is how long the body of POST /fault may be, in bytes.
const faultsBodyMax = 4 << 10

// faultRequest is the body of POST /fault: what is absent stays as it is.
type faultRequest struct {
	Slow         *duration `json:"slow"`
	Outage       *duration `json:"outage"`
	OutageOf     Part      `json:"outage_of"`
	Stall        *duration `json:"stall"`
	Undetermined *float64  `json:"undetermined"`
	RegionErrors *float64  `json:"region_errors"`
}

// duration is written as Go writes it: "300ms".
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err == nil && parsed < 0 {
		err = fmt.Errorf("duration %q is negative", text)
	}
	*d = duration(parsed)
	return err
}

// Handler serves GET /stats, POST /stats/reset and POST /fault.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { s.writeStats(w) })
	mux.HandleFunc("POST /stats/reset", func(w http.ResponseWriter, _ *http.Request) {
		s.ResetStats()
		s.writeStats(w)
	})
	mux.HandleFunc("POST /fault", func(w http.ResponseWriter, r *http.Request) {
		if err := s.fault(http.MaxBytesReader(w, r.Body, faultsBodyMax)); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.writeStats(w)
	})
	return mux
}

func (s *Server) writeStats(w http.ResponseWriter) {
	faults := s.Faults()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(struct {
		Stats
		PDAddr       string  `json:"pd_addr"`
		KVAddr       string  `json:"kv_addr"`
		Slow         string  `json:"slow"`
		Undetermined float64 `json:"undetermined"`
		RegionErrors float64 `json:"region_errors"`
	}{s.Stats(), s.pdAddr, s.kvAddr, faults.Slow.String(), faults.Undetermined, faults.RegionErrors})
}

// fault changes the faults as a request says.
func (s *Server) fault(body io.Reader) error {
	var r faultRequest
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return fmt.Errorf("read the faults: %w", err)
	}
	if decoder.More() {
		return errors.New("read the faults: more than one object")
	}
	faults := s.Faults()
	if r.Slow != nil {
		faults.Slow = time.Duration(*r.Slow)
	}
	if r.Undetermined != nil {
		faults.Undetermined = *r.Undetermined
	}
	if r.RegionErrors != nil {
		faults.RegionErrors = *r.RegionErrors
	}
	if err := s.SetFaults(faults); err != nil {
		return err
	}
	if r.Stall != nil {
		s.Stall(time.Duration(*r.Stall))
	}
	if r.Outage != nil {
		return s.Outage(r.OutageOf, time.Duration(*r.Outage))
	}
	return nil
}
