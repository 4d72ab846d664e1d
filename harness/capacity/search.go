// Package capacity searches the highest rate a server sustains under an SLO:
// steps up to the first failure, bisection, then confirmations. It knows rates
// and verdicts; how a rate is tried, on which server and for how long, is the
// caller's Probe.
package capacity

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/godwit-im/godwit/harness/result"
)

// The ways in which a search ends without a rate.
var (
	// ErrNone: even Config.Min broke the SLO.
	ErrNone = errors.New("no rate keeps the SLO")
	// ErrUnsettled: Config.ProbesMax trials, or Config.Budget, confirmed no rate.
	ErrUnsettled = errors.New("no rate was confirmed")
)

// Outcome is what one trial of a rate gave. Latency and counts are of the
// operations due in its measure stage.
type Outcome struct {
	Latency    result.Latency
	Due        uint64
	Lost       uint64
	Duplicated uint64
	Reordered  uint64
	Refused    uint64
	Unknown    uint64
	Late       uint64
	// Invalid says why the trial says nothing about the server, such as a
	// generator that fell behind. The rate is tried again; when every attempt is
	// invalid, it counts as failed.
	Invalid string
	// Disturbed says what else the machine was busy with. A rate that fails in
	// such a trial says nothing about the server.
	Disturbed string
	// Broken says which promise the server broke beyond what the counts tell.
	// It fails the rate whatever the SLO is.
	Broken string
}

// Probe tries a rate, in operations per second. An error ends the search; an
// overloaded server is no error but an Outcome.
type Probe func(ctx context.Context, rate float64) (Outcome, error)

// Config bounds a search. Rates are operations per second.
type Config struct {
	Start     float64 // the first rate tried
	Min       float64 // below it nothing is searched; 0: Start/100
	Max       float64 // above it nothing is tried; 0: Start×10,000
	Precision float64 // relative width at which bisection ends; 0: 0.05
	Confirm   int     // trials in a row that must keep the SLO; 0: 3
	ProbesMax int     // trials in all; 0: 60
	// Budget bounds the search in time, the trial that is running excepted: in
	// view of it bisection ends early, so that confirmations find time. 0: none.
	Budget time.Duration
	Now    func() time.Time // nil: time.Now
}

const (
	stepFactor = 2
	// attemptsMax trials at most of a rate whose trials are invalid: a busy
	// moment of the machine must not count against the server.
	attemptsMax = 3
)

func (c *Config) validate() error {
	if c.Min == 0 {
		c.Min = c.Start / 100
	}
	if c.Max == 0 {
		c.Max = c.Start * 10_000
	}
	if c.Precision == 0 {
		c.Precision = 0.05
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Confirm == 0 {
		c.Confirm = 3
	}
	if c.ProbesMax == 0 {
		c.ProbesMax = 60
	}
	switch {
	case !(c.Min > 0 && c.Min <= c.Start && c.Start <= c.Max) || math.IsInf(c.Max, 0):
		return fmt.Errorf("capacity: rates must be 0 < min %v <= start %v <= max %v", c.Min, c.Start, c.Max)
	case !(c.Precision >= 0.001 && c.Precision <= 0.5):
		return fmt.Errorf("capacity: precision %v is not 0.001…0.5", c.Precision)
	case c.Budget < 0:
		return fmt.Errorf("capacity: a budget of %s", c.Budget)
	case c.Confirm < 1 || c.ProbesMax < c.Confirm:
		return fmt.Errorf("capacity: %d confirmations of %d trials", c.Confirm, c.ProbesMax)
	}
	return nil
}

// Trial is one probe and its verdict.
type Trial struct {
	Phase   Phase
	Rate    float64
	Outcome Outcome
	Unmet   []string // empty: the rate kept the SLO
}

// Phase is the part of the search a trial belongs to.
type Phase string

// The phases, in order.
const (
	PhaseStep    Phase = "step"
	PhaseBisect  Phase = "bisect"
	PhaseConfirm Phase = "confirm"
)

// Found is the highest rate that was confirmed.
type Found struct {
	Rate   float64
	Failed float64 // the lowest rate above it that failed; 0: none did
	// Verdict is one of the result package's; AtLeast says, unless that is
	// VerdictCapacity, why the server may sustain more than Rate.
	Verdict string
	AtLeast string
	Trials  []Trial
}

// search is the state of a Find.
type search struct {
	config Config
	slo    SLO
	probe  Probe
	report func(Trial)

	kept      float64 // the highest rate not yet refuted; 0: none
	failed    float64 // the lowest rate that failed; 0: none
	invalid   string  // of the trial that set failed
	disturbed string  // likewise
	trials    []Trial
	begun     time.Time
	longest   time.Duration // trial so far
}

// Find searches the highest rate. report, if not nil, gets every trial as it
// ends. The Found that comes with an error holds the trials so far.
func Find(ctx context.Context, config Config, slo SLO, probe Probe, report func(Trial)) (Found, error) {
	if err := config.validate(); err != nil {
		return Found{}, err
	}
	if len(slo) == 0 {
		return Found{}, errors.New("capacity: an empty SLO is kept by every rate")
	}
	s := &search{config: config, slo: slo, probe: probe, report: report, begun: config.Now()}
	err := s.step(ctx)
	if err == nil {
		err = s.bisect(ctx)
	}
	if err == nil {
		err = s.confirm(ctx)
	}
	if err != nil {
		return Found{Trials: s.trials}, err
	}
	found := Found{Rate: s.kept, Failed: s.failed, Trials: s.trials, Verdict: result.VerdictCapacity}
	switch {
	case s.failed == 0:
		found.Verdict = result.VerdictBounded
		found.AtLeast = fmt.Sprintf("the highest rate tried, %.6g/s, kept the SLO", s.config.Max)
	case s.invalid != "":
		found.Verdict = result.VerdictGenerator
		found.AtLeast = fmt.Sprintf("%.6g/s failed for the generator's sake: %s", s.failed, s.invalid)
	case s.disturbed != "":
		found.Verdict = result.VerdictDisturbed
		found.AtLeast = fmt.Sprintf("%.6g/s failed while %s", s.failed, s.disturbed)
	}
	return found, nil
}

// step goes up by doubling to the first failure, or down to the first success.
func (s *search) step(ctx context.Context) error {
	rate := s.config.Start
	ok, err := s.try(ctx, PhaseStep, rate)
	for err == nil && ok && rate < s.config.Max {
		rate = min(rate*stepFactor, s.config.Max)
		ok, err = s.try(ctx, PhaseStep, rate)
	}
	for err == nil && s.kept == 0 {
		if rate <= s.config.Min {
			return fmt.Errorf("%w: %.6g/s broke it, and no lower rate is searched", ErrNone, rate)
		}
		rate = max(rate/stepFactor, s.config.Min)
		_, err = s.try(ctx, PhaseStep, rate)
	}
	return err
}

// bisect narrows the gap between a rate that kept the SLO and one that didn't.
func (s *search) bisect(ctx context.Context) error {
	for s.failed > 0 && s.failed > s.kept*(1+s.config.Precision) && s.timeFor(1+s.config.Confirm) {
		if _, err := s.try(ctx, PhaseBisect, (s.kept+s.failed)/2); err != nil {
			return err
		}
	}
	return nil
}

// timeFor reports whether so many more trials fit into the budget.
func (s *search) timeFor(trials int) bool {
	return s.config.Budget == 0 || s.config.Now().Sub(s.begun)+time.Duration(trials)*s.longest <= s.config.Budget
}

// confirm tries the rate again until it kept the SLO so many times in a row; a
// failure refutes the rate, and the search goes on one precision below it.
func (s *search) confirm(ctx context.Context) error {
	for row := 0; row < s.config.Confirm; {
		rate := s.kept
		ok, err := s.try(ctx, PhaseConfirm, rate)
		if err != nil {
			return err
		}
		if ok {
			row++
			continue
		}
		if rate <= s.config.Min {
			return fmt.Errorf("%w: %.6g/s kept it once and then broke it, and no lower rate is searched", ErrNone, rate)
		}
		row, s.kept = 0, max(rate/(1+s.config.Precision), s.config.Min)
	}
	return nil
}

// try judges a rate and moves the bounds.
func (s *search) try(ctx context.Context, phase Phase, rate float64) (kept bool, err error) {
	var trial Trial
	for attempt := 0; attempt == 0 || attempt < attemptsMax && trial.Outcome.Invalid != ""; attempt++ {
		if trial, err = s.attempt(ctx, phase, rate); err != nil {
			return false, err
		}
	}
	if len(trial.Unmet) > 0 {
		if s.failed == 0 || rate <= s.failed {
			s.failed, s.invalid, s.disturbed = rate, trial.Outcome.Invalid, trial.Outcome.Disturbed
		}
		return false, nil
	}
	s.kept = max(s.kept, rate)
	return true, nil
}

// attempt runs one trial.
func (s *search) attempt(ctx context.Context, phase Phase, rate float64) (Trial, error) {
	if n := len(s.trials); n == s.config.ProbesMax {
		return Trial{}, fmt.Errorf("%w in %d trials; last tried %.6g/s: make the measure stage longer, or the SLO less tight", ErrUnsettled, n, s.trials[n-1].Rate)
	}
	if s.config.Budget > 0 && s.config.Now().Sub(s.begun) > s.config.Budget {
		return Trial{}, fmt.Errorf("%w in %s and %d trials: allow more time, or make the measure stage shorter", ErrUnsettled, s.config.Budget, len(s.trials))
	}
	if err := ctx.Err(); err != nil {
		return Trial{}, err
	}
	begun := s.config.Now()
	outcome, err := s.probe(ctx, rate)
	s.longest = max(s.longest, s.config.Now().Sub(begun))
	if err != nil {
		return Trial{}, fmt.Errorf("try %.6g/s: %w", rate, err)
	}
	trial := Trial{Phase: phase, Rate: rate, Outcome: outcome}
	switch {
	case outcome.Invalid != "":
		trial.Unmet = []string{outcome.Invalid}
	case outcome.Broken != "":
		trial.Unmet = []string{outcome.Broken}
	default:
		trial.Unmet = s.slo.Unmet(&outcome)
	}
	s.trials = append(s.trials, trial)
	if s.report != nil {
		s.report(trial)
	}
	return trial, nil
}
