package chat

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// join connects a device with a token issued then and tells the close code, 0 if
// it is in.
func (s *served) join(session godwit.SessionID, user godwit.UserID, device string, issued int64) godwit.CloseCode {
	s.t.Helper()
	delete(s.edge.closed, session)
	before := len(s.edge.welcomes[session])
	s.service.Connect(session, godwit.Hello{User: user, Device: device, Issued: issued})
	s.settle()
	code, closed := s.edge.closed[session]
	if closed == (len(s.edge.welcomes[session]) > before) {
		s.t.Fatalf("%s of %s was both opened and closed, or neither: %d", device, user, code)
	}
	if closed {
		s.service.Disconnect(session, user, device)
	}
	return code
}

func (s *served) logout(session godwit.SessionID, user godwit.UserID, device string) {
	s.t.Helper()
	f := &godwit.ClientFrame{Kind: godwit.KindDevice, Device: godwit.Device{
		Do: []byte(godwit.DeviceLogout), Device: []byte(device), All: device == "",
	}}
	if r := s.askAs(session, user, f); r.Kind != godwit.KindDone {
		s.t.Fatalf("logout: %+v", r.Error)
	}
}

// askAs is ask with a session of the user's own.
func (s *served) askAs(session godwit.SessionID, user godwit.UserID, f *godwit.ClientFrame) godwit.ServerFrame {
	s.t.Helper()
	f.ID = uint64(len(s.edge.replies) + 1)
	s.service.Request(session, user, f)
	s.settle()
	answers := s.edge.replies[f.ID]
	if len(answers) != 1 {
		s.t.Fatalf("%d answers to %+v", len(answers), f)
	}
	return answers[0]
}

// devices draws the list: "phone" or "phone online this".
func (s *served) devices(session godwit.SessionID, user godwit.UserID) (lines []string) {
	s.t.Helper()
	r := s.askAs(session, user, &godwit.ClientFrame{Kind: godwit.KindDevice, Device: godwit.Device{Do: []byte(godwit.DeviceList)}})
	if r.Kind != godwit.KindDevice {
		s.t.Fatalf("list of devices: %+v", r.Error)
	}
	for _, d := range r.Devices.Devices {
		line := d.Device
		if d.Online {
			line += " online"
		}
		if d.This {
			line += " this"
		}
		if d.Since == 0 || d.Seen < d.Since {
			line += " undated"
		}
		lines = append(lines, line)
	}
	return lines
}

func (s *served) wantDevices(session godwit.SessionID, user godwit.UserID, want ...string) {
	s.t.Helper()
	if got := s.devices(session, user); !slices.Equal(got, want) {
		s.t.Errorf("devices %q, want %q", got, want)
	}
}

func (s *served) commands() (n int) {
	for _, g := range s.store.groups {
		n += len(g.commands)
	}
	return n
}

func TestDevicesAreNotedOnceAndListed(t *testing.T) {
	bubble(t, 8, func(c *Config) { c.Now = func() int64 { return 1_700_000_000_000 } }, func(s *served) {
		s.join(1, "alice", "phone", 5)
		s.join(2, "alice", "web", 5)
		s.join(3, "bob", "phone", 5)
		s.wantDevices(2, "alice", "phone online", "web online this")
		s.service.Disconnect(1, "alice", "phone")
		s.wantDevices(2, "alice", "phone", "web online this")
		before := s.commands()
		s.join(4, "alice", "phone", 5)
		if s.commands() != before {
			t.Error("a device that is known was noted again")
		}
		s.restart()
		s.wantDevices(9, "alice", "phone", "web")
		// A day later it is.
		s.service.cfg.Now = func() int64 { return 1_700_000_000_000 + deviceSeenEvery }
		s.store.clock += deviceSeenEvery
		before = s.commands()
		s.join(4, "alice", "phone", 5)
		s.join(5, "alice", "phone", 5)
		if n := s.commands() - before; n != 1 {
			t.Errorf("noted %d times", n)
		}
		// A name the edge made up is not worth a row.
		before = s.commands()
		s.join(77, "alice", godwit.DeviceOf(77), 5)
		if s.commands() != before {
			t.Error("a made up name was noted")
		}
		s.wantDevices(77, "alice", "phone online", "web", godwit.DeviceOf(77)+" online this undated")
	})
}

func TestLogoutOfADeviceEndsItsSessionAndItsTokens(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		now := s.store.clock
		s.join(1, "alice", "phone", now-10)
		s.join(2, "alice", "web", now-10)
		s.join(3, "bob", "phone", now-10)
		s.logout(2, "alice", "phone")
		if s.edge.closed[1] != godwit.CloseLoggedOut || len(s.edge.closed) != 1 {
			t.Fatalf("closed: %v", s.edge.closed)
		}
		s.service.Disconnect(1, "alice", "phone")
		s.wantDevices(2, "alice", "web online this")
		f := func(device string, issued int64, want godwit.CloseCode) {
			t.Helper()
			if got := s.join(10, "alice", device, issued); got != want {
				t.Errorf("%s with a token of %+d ms: %d, want %d", device, issued-now, got, want)
			}
			s.service.Disconnect(10, "alice", device)
		}
		f("phone", now-1, godwit.CloseLoggedOut)
		f("phone", 0, godwit.CloseLoggedOut)
		f("web", now-1, 0)
		f("other", 0, 0)
		s.wantDevices(9, "alice", "other", "web")
		f("phone", now, 0)
		s.wantDevices(9, "alice", "other", "phone", "web")
		f("phone", now-1, godwit.CloseLoggedOut) // the old token stays void
		before := s.store.digests()
		s.restart()
		f("phone", now-1, godwit.CloseLoggedOut)
		if !slices.Equal(before, s.store.digests()) {
			t.Error("a replay gives another state")
		}
	})
}

func TestLogoutOfAllDevices(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		now := s.store.clock
		s.join(1, "alice", "phone", now-10)
		s.join(2, "alice", "web", now-10)
		s.join(3, "bob", "phone", now-10)
		s.logout(2, "alice", "")
		if s.edge.closed[1] != godwit.CloseLoggedOut || s.edge.closed[2] != godwit.CloseLoggedOut || s.edge.closed[3] != 0 {
			t.Errorf("closed: %v", s.edge.closed)
		}
		s.service.Disconnect(1, "alice", "phone")
		s.service.Disconnect(2, "alice", "web")
		for _, device := range []string{"phone", "web", "new", godwit.DeviceOf(7)} {
			if got := s.join(7, "alice", device, now-1); got != godwit.CloseLoggedOut {
				t.Errorf("%s: %d", device, got)
			}
		}
		s.wantDevices(9, "alice")
		if got := s.join(8, "alice", "phone", now+1000); got != 0 {
			t.Errorf("a new token: %d", got)
		}
		s.wantDevices(8, "alice", "phone online this")
	})
}

// Whatever the order in which a connect and a logout meet, no session of before
// the logout is open after it.
func TestALogoutLeavesNoSessionOfBefore(t *testing.T) {
	for _, all := range []bool{false, true} {
		bubble(t, 1, nil, func(s *served) {
			now := s.store.clock
			s.join(1, "alice", "phone", now-10)
			s.store.hold = true // the connect waits for its read
			s.service.Connect(2, godwit.Hello{User: "alice", Device: "phone", Issued: now - 10})
			s.service.Connect(3, godwit.Hello{User: "alice", Device: "tablet", Issued: now - 10})
			s.settle()
			device := "phone"
			if all {
				device = ""
			}
			s.logout(9, "alice", device)
			s.store.hold = false
			for _, done := range s.store.held {
				done(nil)
			}
			s.settle()
			if s.edge.closed[2] != godwit.CloseLoggedOut || (s.edge.closed[3] == godwit.CloseLoggedOut) != all {
				t.Errorf("all %v: closed %v", all, s.edge.closed)
			}
			if len(s.edge.welcomes[2]) != 0 {
				t.Error("welcomed after the logout")
			}
		})
	}
}

// A note that a device was seen, applied after its logout, does not bring it back.
func TestALateNoteDoesNotUndoALogout(t *testing.T) {
	w := newWorld(t, 1, func(st *settings) { st.level, st.policy = 2, policy{channelAbove: 1, membersMax: 1} })
	run := func(c deviceCommand) {
		t.Helper()
		c.user = []byte("alice")
		w.run(0, c.append(nil, w.home(0))).mustBe(t, nil)
	}
	row := func() (d deviceRow) {
		d.parse(w.store.groups[0].rows[string(appendPeerKey(nil, godwit.UserID("alice").Partition(), rowDevice, []byte("alice"), []byte("phone")))])
		return d
	}
	active := func() bool { d := row(); return d.isActive(&userRow{}) }
	phone, issued := []byte("phone"), w.store.clock
	run(deviceCommand{op: deviceSeen, device: phone, issued: issued})
	w.store.clock += 10
	run(deviceCommand{op: deviceLogout, device: phone})
	out := row()
	w.store.clock += 10
	run(deviceCommand{op: deviceSeen, device: phone, issued: issued})
	if row() != out || active() {
		t.Errorf("row %+v", row())
	}
	run(deviceCommand{op: deviceSeen, device: phone, issued: w.store.clock})
	if !active() || row().loggedOut != out.loggedOut {
		t.Errorf("row %+v", row())
	}
}

func TestDevicesAreBounded(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		for i := range devicesMax + 5 {
			s.store.clock++
			device := fmt.Sprintf("d%03d", i)
			s.join(1, "alice", device, 5)
			s.service.Disconnect(1, "alice", device)
			if i == 50 {
				s.logout(9, "alice", "d010")
			}
		}
		got := s.devices(9, "alice")
		if len(got) != devicesMax-1 || strings.HasPrefix(got[0], "d000") || got[len(got)-1] != fmt.Sprintf("d%03d", devicesMax+4) {
			t.Errorf("%d devices, %s to %s", len(got), got[0], got[len(got)-1])
		}
		v := s.store.View(0)
		u, _ := userOfView(v, "alice")
		v.Close()
		n := 0
		for key := range s.store.groups[0].rows {
			if key[2] == rowDevice {
				n++
			}
		}
		if n != devicesMax || u.devices != devicesMax {
			t.Errorf("%d rows, counted %d", n, u.devices)
		}
	})
}

func TestBadDeviceRequestsAreRefused(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		f := func(d godwit.Device) {
			t.Helper()
			s.wantError(s.ask("alice", &godwit.ClientFrame{Kind: godwit.KindDevice, Device: d}), godwit.ErrFrameInvalid)
		}
		logout := []byte(godwit.DeviceLogout)
		f(godwit.Device{})
		f(godwit.Device{Do: []byte("explode")})
		f(godwit.Device{Do: logout})
		f(godwit.Device{Do: logout, Device: []byte("a b")})
		f(godwit.Device{Do: logout, Device: []byte("phone"), All: true})
		s.store.refuse = godwit.ErrUnavailable
		s.wantError(s.ask("alice", &godwit.ClientFrame{Kind: godwit.KindDevice, Device: godwit.Device{Do: logout, All: true}}), godwit.ErrUnavailable)
	})
}
