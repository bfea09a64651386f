import './style/tokens.css'
import './style/base.css'
import { VueQueryPlugin } from '@tanstack/vue-query'
import { createApp } from 'vue'
import { queries } from '@/api/queries'
import App from '@/App.vue'
import { startLocale } from '@/locale'
import { router } from '@/router'

await startLocale()
createApp(App).use(router).use(VueQueryPlugin, { queryClient: queries }).mount('#app')
