import type { Component } from 'vue'
import type { RouteRecordRaw } from 'vue-router'
import type { Key } from '@/locale'

export const GROUPS = ['start', 'build', 'own', 'operate'] as const

export interface MenuEntry {
  to: string
  label: Key
  icon: Component
  group: (typeof GROUPS)[number]
  order: number
  /** Shown only to those who may. */
  needs?: string
}

/** What a folder under `features/` adds to the console: its pages and, mostly, one entry in the menu. */
export interface Feature {
  routes: RouteRecordRaw[]
  menu?: MenuEntry
}

const found = import.meta.glob<{ feature: Feature }>('./*/feature.ts', { eager: true })

export const features = Object.values(found).map((module) => module.feature)
