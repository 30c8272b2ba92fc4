// Kubelet's own device manager without kubelet: it serves registrations at kubelet's usual place, and does what lines of
// JSON on its input say, one answer a line. Start it where /var/lib/kubelet is its own.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/kubernetes/pkg/kubelet/cm/containermap"
	"k8s.io/kubernetes/pkg/kubelet/cm/devicemanager"
	"k8s.io/kubernetes/pkg/kubelet/cm/topologymanager"
)

type request struct {
	Do       string `json:"do"`
	Pod      string `json:"pod"`
	Resource string `json:"resource"`
	Count    int64  `json:"count"`
}

type answer struct {
	Error       string            `json:"error,omitempty"`
	Capacity    int64             `json:"capacity"`
	Allocatable int64             `json:"allocatable"`
	Devices     []string          `json:"devices,omitempty"`
	CDI         []string          `json:"cdi,omitempty"`
	Nodes       []string          `json:"nodes,omitempty"`
	Environment map[string]string `json:"environment,omitempty"`
}

type ready struct{}

func (ready) AddSource(string) {}
func (ready) AllReady() bool   { return true }

type harness struct {
	manager *devicemanager.ManagerImpl
	lock    sync.Mutex
	pods    map[string]*v1.Pod
}

func (h *harness) active() []*v1.Pod {
	h.lock.Lock()
	defer h.lock.Unlock()
	pods := make([]*v1.Pod, 0, len(h.pods))
	for _, pod := range h.pods {
		pods = append(pods, pod)
	}
	return pods
}

func (h *harness) capacity(name string) answer {
	capacity, allocatable, _ := h.manager.GetCapacity()
	all, free := capacity[v1.ResourceName(name)], allocatable[v1.ResourceName(name)]
	return answer{Capacity: all.Value(), Allocatable: free.Value()}
}

func (h *harness) allocate(asked request) answer {
	limits := v1.ResourceList{v1.ResourceName(asked.Resource): *resource.NewQuantity(asked.Count, resource.DecimalSI)}
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: asked.Pod, Namespace: "default", UID: types.UID(asked.Pod)},
		Spec: v1.PodSpec{Containers: []v1.Container{{
			Name: "main", Resources: v1.ResourceRequirements{Limits: limits, Requests: limits},
		}}},
	}
	container := &pod.Spec.Containers[0]
	if err := h.manager.Allocate(pod, container); err != nil {
		return answer{Error: err.Error()}
	}
	h.lock.Lock()
	h.pods[asked.Pod] = pod
	h.lock.Unlock()
	options, err := h.manager.GetDeviceRunContainerOptions(pod, container)
	if err != nil {
		return answer{Error: err.Error()}
	}
	found := answer{Environment: map[string]string{}}
	for name := range h.manager.GetDevices(asked.Pod, "main")[asked.Resource] {
		found.Devices = append(found.Devices, name)
	}
	if options != nil {
		for _, device := range options.CDIDevices {
			found.CDI = append(found.CDI, device.Name)
		}
		for _, device := range options.Devices {
			found.Nodes = append(found.Nodes, device.PathOnHost)
		}
		for _, env := range options.Envs {
			found.Environment[env.Name] = env.Value
		}
	}
	return found
}

func (h *harness) remove(name string) answer {
	h.lock.Lock()
	delete(h.pods, name)
	h.lock.Unlock()
	h.manager.UpdateAllocatedDevices()
	return answer{}
}

func main() {
	manager, err := devicemanager.NewManagerImpl(nil, topologymanager.NewFakeManager())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	h := &harness{manager: manager, pods: map[string]*v1.Pod{}}
	if err := manager.Start(h.active, ready{}, containermap.NewContainerMap(), sets.New[string]()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	lines, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked request
		found := answer{Error: "nobody knows that word"}
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			found = answer{Error: err.Error()}
		} else {
			switch asked.Do {
			case "capacity":
				found = h.capacity(asked.Resource)
			case "allocate":
				found = h.allocate(asked)
			case "remove":
				found = h.remove(asked.Pod)
			}
		}
		if err := out.Encode(found); err != nil {
			os.Exit(1)
		}
	}
}
