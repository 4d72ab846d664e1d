package router

import (
	"fmt"
	"testing"
)

func assignView(n int, capacity uint64) *View {
	v := &View{}
	for i := range n {
		name := fmt.Sprintf("edge-%d", i)
		v.Edges = append(v.Edges, Peer{Number: uint32(i + 1), Member: Member{Name: name, URL: "wss://" + name, Capacity: capacity}})
	}
	return v
}

// assignAll sends users one after another to their first edge and counts them there.
func assignAll(v *View, users int) (chosen []uint32) {
	for u := range users {
		p := v.Assign(fmt.Sprint("user-", u))[0]
		chosen = append(chosen, p.Number)
		v.Edges[p.Number-1].Sessions++
	}
	return chosen
}

func TestAssignSpreadsUsersWithinTheBound(t *testing.T) {
	const edges, users = 7, 20000
	v := assignView(edges, 0)
	assignAll(v, users)
	for _, e := range v.Edges {
		if mean := float64(users) / edges; float64(e.Sessions) > boundFactor*mean+boundSlack+1 || float64(e.Sessions) < mean/2 {
			t.Errorf("%s has %d of %d users", e.Name, e.Sessions, users)
		}
	}
}

func TestAssignFollowsCapacity(t *testing.T) {
	const users = 20000
	v := assignView(4, 10000)
	v.Edges[0].Capacity = 30000
	assignAll(v, users)
	for i, e := range v.Edges {
		share := float64(users) / 6
		if i == 0 {
			share *= 3
		}
		if n := float64(e.Sessions); n > boundFactor*share+boundSlack+1 || n < share*0.8 {
			t.Errorf("%s with capacity %d has %d of %d users", e.Name, e.Capacity, e.Sessions, users)
		}
	}
}

func TestAssignPrefersWhoHasRoom(t *testing.T) {
	v := assignView(3, 0)
	first := v.Assign("alice")[0].Number
	v.Edges[first-1].Sessions = 1000
	order := v.Assign("alice")
	if len(order) != 3 || order[2].Number != first {
		t.Fatalf("an edge with all sessions is not the last: %+v", order)
	}
	for i := range v.Edges {
		v.Edges[i].Sessions = 1000
	}
	if got := v.Assign("alice")[0].Number; got != first {
		t.Errorf("with equal loads the user is sent to %d, not to %d", got, first)
	}
	v = assignView(2, 10)
	v.Edges[0].Sessions, v.Edges[1].Sessions = 10, 9
	for u := range 50 {
		if got := v.Assign(fmt.Sprint(u))[0].Number; got != 2 {
			t.Fatalf("user %d is sent to an edge at its capacity", u)
		}
	}
}

// Only the users of an edge that leaves move, and only to those of the others.
func TestAssignMovesFewUsers(t *testing.T) {
	const users = 5000
	before := assignView(6, 0)
	after := assignView(6, 0)
	after.Edges[2].State = StateDraining
	moved := 0
	for u := range users {
		user := fmt.Sprint("user-", u)
		was, is := before.Assign(user), after.Assign(user)
		if len(is) != 5 {
			t.Fatalf("%d edges are left", len(is))
		}
		if was[0].Number == 3 {
			moved++
			if is[0].Number != was[1].Number {
				t.Fatalf("user %s moves to %d, not to his second %d", user, is[0].Number, was[1].Number)
			}
		} else if is[0].Number != was[0].Number {
			t.Fatalf("user %s moves from %d to %d though his edge stays", user, was[0].Number, is[0].Number)
		}
	}
	if moved < users/12 || moved > users/3 {
		t.Errorf("%d of %d users were at one edge of six", moved, users)
	}
}

func TestAssignLeavesOutWhoTakesNobody(t *testing.T) {
	v := assignView(5, 0)
	v.Edges[0].Verdict = Dead
	v.Edges[1].State = StateDraining
	v.Edges[2].URL = ""
	v.Edges[3].Verdict = Suspect
	if got := v.Assign("u"); len(got) != 1 || got[0].Number != 5 {
		t.Fatalf("assigned to %+v", got)
	}
	v.Edges[4].Verdict = Dead
	if got := v.Assign("u"); len(got) != 1 || got[0].Number != 4 {
		t.Fatalf("with nobody else assigned to %+v, not to the suspect", got)
	}
	v.Edges[3].Verdict = Dead
	if got := v.Assign("u"); len(got) != 0 {
		t.Fatalf("assigned to %+v", got)
	}
}

// Every process of a cluster, of whatever build, orders alike.
func TestAssignIsTheSameEverywhere(t *testing.T) {
	v := assignView(5, 0)
	got := ""
	for _, p := range v.Assign("alice") {
		got += fmt.Sprint(p.Number)
	}
	if want := "13524"; got != want {
		t.Errorf("the order for alice is %s, want %s", got, want)
	}
}

func BenchmarkAssign(b *testing.B) {
	v := assignView(20, 0)
	for b.Loop() {
		v.Assign("user-1")
	}
}
